// The todo example: what its pages see of each other, and what a person does with one.

import { expect, test } from "../support/todo.js";

test("P1 two tabs and two browsers in a room see each other's changes", async ({ server, join }) => {
  const ann = await join({ url: server.url });
  const tab = await join({ url: server.url, context: ann.page.context() });
  const bob = await join({ url: server.url });
  const all = [ann, tab, bob];

  await ann.add("Milk");
  await tab.add("Bread");
  await bob.add("Tea");
  for (const page of all) await page.shows("Tea", "Bread", "Milk");

  await bob.checkbox("Milk").check();
  await ann.edit("Bread", "Rye bread");
  await tab.delete("Tea");
  for (const page of all) {
    await page.shows("Rye bread", "Milk");
    await expect(page.checkbox("Milk")).toBeChecked();
    await expect(page.page.getByText("1 of 2 left")).toBeVisible();
  }
  await ann.button("Delete what is done (1)").click();
  for (const page of all) await page.shows("Rye bread");

  const late = await join({ url: server.url });
  await late.shows("Rye bread");
  await ann.page.reload();
  await ann.shows("Rye bread");
});

test("P9 a room is in its page's address: a copied link leads there, and no other room's todos", async ({ server, join }) => {
  const ann = await join({ url: server.url, room: "home" });
  await ann.add("Milk");
  await ann.shows("Milk");
  await ann.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await ann.page.getByLabel("Room").fill(" book club/ä ");
  await ann.button("Go").click();
  await expect(ann.page.getByRole("heading")).toHaveText("Todos in book club/ä");
  await ann.isLive();
  await ann.shows();
  await ann.add("Moby-Dick");
  await ann.button("Copy link").click();
  await expect(ann.button("Copied")).toBeVisible();

  const bob = await join({ url: server.url, room: "elsewhere" });
  await bob.page.goto(await ann.page.evaluate(() => navigator.clipboard.readText()));
  await bob.shows("Moby-Dick");
});

test("P9 a text is shown as text, whatever is in it", async ({ server, join }) => {
  const text = `<img src=x onerror="throw 1"> & "quotes" '; DROP TABLE todos; --`;
  const ann = await join({ url: server.url, room: "<b>home</b>" });
  await ann.add(text);
  await ann.page.reload();
  await ann.shows(text);
  await expect(ann.page.locator("li img, h1 b")).toHaveCount(0);
});

test("P6 an own change shows at once, half-opaque until the room has confirmed it", async ({ cable, join }) => {
  const ann = await join({ url: cable.url });
  cable.hold();
  await ann.add("Milk");
  const label = ann.todo("Milk").locator("label");
  await expect(label).toHaveCSS("opacity", "0.5");
  await expect(ann.status).toHaveText("Saving 1 change…");
  cable.release();
  await ann.shows("Milk");
  await expect(label).toHaveCSS("opacity", "1");
  await ann.isLive();
});

test("it can be used with the keyboard alone, which does not lose its place when a todo is deleted", async ({ server, join }) => {
  const ann = await join({ url: server.url });
  const { keyboard } = ann.page;
  await ann.field.focus();
  for (const text of ["Milk", "Bread", "Tea", "Salt"]) {
    await keyboard.type(text);
    await keyboard.press("Enter");
    await expect(ann.field).toHaveValue("");
  }
  await ann.shows("Salt", "Tea", "Bread", "Milk");
  await expect(ann.field).toBeFocused();

  await keyboard.press("Tab");
  await keyboard.press("Tab");
  await expect(ann.checkbox("Salt")).toBeFocused();
  await keyboard.press("Space");
  await expect(ann.checkbox("Salt")).toBeChecked();
  await keyboard.press("Tab");
  await keyboard.press("Enter");
  const edited = ann.page.getByRole("textbox", { name: "New text" });
  await expect(edited).toBeFocused();
  await keyboard.type("Sea salt");
  await keyboard.press("Enter");
  await ann.shows("Sea salt", "Tea", "Bread", "Milk");
  await expect(ann.button("Edit Sea salt")).toBeFocused();
  await keyboard.press("Enter");
  await keyboard.type("Pepper");
  await keyboard.press("Escape");
  await expect(ann.button("Edit Sea salt")).toBeFocused();

  await keyboard.press("Tab");
  await expect(ann.button("Delete Sea salt")).toBeFocused();
  await expect(ann.button("Delete Sea salt")).toHaveCSS("outline-style", "solid");
  await keyboard.press("Enter");
  await expect(ann.button("Delete Tea")).toBeFocused();
  // Somebody else deletes the one that has the focus.
  const bob = await join({ url: server.url });
  await bob.delete("Tea");
  await expect(ann.button("Delete Bread")).toBeFocused();
  await bob.delete("Milk");
  await ann.shows("Bread");
  await keyboard.press("Enter");
  await ann.shows();
  await expect(ann.field).toBeFocused();

  // Buttons that go when they have done their work.
  await keyboard.press("Enter");
  await ann.button("Dismiss").focus();
  await keyboard.press("Enter");
  await expect(ann.problems).toHaveCount(0);
  await expect(ann.field).toBeFocused();
  await ann.add("Rice");
  await ann.checkbox("Rice").check();
  await ann.button("Delete what is done (1)").focus();
  await keyboard.press("Enter");
  await ann.shows();
  await expect(ann.field).toBeFocused();
});

test("local data can be cleared: what is kept goes, the room's todos come anew, and what was not sent is lost only if one agrees", async ({
  start,
  join,
}) => {
  const server = await start();
  const ann = await join({ url: server.url });
  await ann.add("Milk");
  await ann.isLive();
  await ann.isKept();
  await server.kill();
  await ann.isOffline();
  await ann.add("Bread");
  await ann.isOffline(1);
  ann.page.once("dialog", (dialog) => dialog.dismiss());
  await ann.button("Clear local data").click();
  await ann.has("Bread", "Milk");

  ann.page.once("dialog", (dialog) => dialog.accept());
  await ann.button("Clear local data").click();
  await expect(ann.page.getByText("This list is not on this device yet.")).toBeVisible();
  await ann.page.reload();
  await expect(ann.page.getByText("This list is not on this device yet.")).toBeVisible();
  await start({ port: server.port });
  await ann.isLive();
  await ann.shows("Milk");
});
