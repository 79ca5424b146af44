// What pages in one room, and in two, see of each other.

import { expect, test } from "../support/fixtures.js";

test("P1 two pages in one room see each other's changes", async ({ server, join }) => {
  const ann = await join({ url: server.url, room: "home" });
  const bob = await join({ url: server.url, room: "home" });

  await ann.add("Milk");
  await bob.shows("Milk");
  await bob.add("Bread");
  await ann.shows("Milk", "Bread");

  await bob.checkbox("Milk").check();
  await expect(ann.checkbox("Milk")).toBeChecked();
  await ann.checkbox("Milk").uncheck();
  await expect(bob.checkbox("Milk")).not.toBeChecked();

  await ann.edit("Bread", "Rye bread");
  await bob.shows("Milk", "Rye bread");

  await ann.delete("Rye bread");
  await bob.shows("Milk");
  await bob.delete("Milk");
  await ann.shows();
  await bob.shows();
});

test("P1 tabs of one browser, and a page that comes later, hold the same rows", async ({ server, join }) => {
  const first = await join({ url: server.url, room: "home" });
  const second = await join({ url: server.url, room: "home", context: first.page.context() });
  await first.add("Milk");
  await second.add("Bread");
  await first.add("Tea");
  await first.delete("Bread");
  await second.shows("Milk", "Tea");

  const late = await join({ url: server.url, room: "home" });
  await late.shows("Milk", "Tea");
  await first.page.reload();
  await first.shows("Milk", "Tea");
});

test("P9 a page in another room sees none of them", async ({ server, join }) => {
  const home = await join({ url: server.url, room: "home" });
  const work = await join({ url: server.url, room: "work" });
  await home.add("Milk");
  await work.add("Report");
  // Each has the ack of its own, later change: anything of the other's would have come before it.
  await home.add("Bread");
  await work.add("Slides");
  await home.shows("Milk", "Bread");
  await work.shows("Report", "Slides");

  const late = await join({ url: server.url, room: "work" });
  await late.shows("Report", "Slides");
});

test("P9 rooms whose names a URL has to encode are rooms of their own", async ({ server, join }) => {
  const page = await join({ url: server.url, room: "a" });
  for (const name of ["a b", "a%20b", "a/b", "a?b", "a#b", "ä"]) {
    await page.open(server.url, name);
    await page.shows();
    await page.add(`In ${name}`);
    await page.shows(`In ${name}`);
  }
});

test("a room can be switched, and its link copied", async ({ server, join }) => {
  const page = await join({ url: server.url });
  await expect(page.page.getByRole("heading")).toHaveText("Todos in lobby");
  await page.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.page.getByLabel("Room").fill(" book club ");
  await page.page.getByRole("button", { name: "Switch" }).click();
  await expect(page.page.getByRole("heading")).toHaveText("Todos in book club");
  await page.isLive();

  await page.page.getByRole("button", { name: "Copy link" }).click();
  await expect(page.page.getByRole("button", { name: "Copied" })).toBeVisible();
  const link = await page.page.evaluate(() => navigator.clipboard.readText());
  expect(link).toBe(`${server.url}/?room=book%20club`);
});

test("P9 a text is shown as text, whatever is in it", async ({ server, join }) => {
  const text = `<img src=x onerror="throw 1"> & "quotes" '; DROP TABLE todos; --`;
  const ann = await join({ url: server.url, room: "<b>home</b>" });
  const bob = await join({ url: server.url, room: "<b>home</b>" });
  await ann.add(text);
  await bob.shows(text);
  await bob.page.reload();
  await bob.shows(text);
  await expect(bob.page.locator("#todos img, h1 b")).toHaveCount(0);
});
