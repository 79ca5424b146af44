// The todo example: what becomes of todos and changes when the server or the network fails, or the room refuses.

import { cp, rm } from "node:fs/promises";

import { expect, RawClient, test, versionOf } from "../support/todo.js";

test("P3 P7 the server stopped and started again: pages come back by themselves and see each other's further changes", async ({
  start,
  join,
}) => {
  const before = await start();
  const ann = await join({ url: before.url });
  const bob = await join({ url: before.url });
  await ann.add("Milk");
  await bob.shows("Milk");
  await before.stop();
  await Promise.all([ann.isOffline(), bob.isOffline()]);
  await ann.add("Bread");
  await bob.checkbox("Milk").check();
  await ann.isOffline(1);

  const after = await start({ port: before.port });
  await Promise.all([ann.isLive(), bob.isLive()]);
  await ann.add("Tea");
  for (const page of [ann, bob, await join({ url: after.url })]) {
    await page.shows("Tea", "Bread", "Milk");
    await expect(page.checkbox("Milk")).toBeChecked();
    await expect(page.problems).toHaveCount(0);
  }
});

test("P4 what is done offline outlives its tab, and each arrives exactly once", async ({ start, join }) => {
  const server = await start();
  const ann = await join({ url: server.url });
  await ann.add("Milk");
  await ann.add("Bread");
  await ann.isLive();
  await ann.isKept();
  await server.kill();
  await ann.isOffline();
  await ann.add("Tea");
  await ann.add("Salt");
  await ann.edit("Tea", "Green tea");
  await ann.checkbox("Milk").check();
  await ann.delete("Bread");
  await ann.isOffline(5);
  await ann.page.close({ runBeforeUnload: false });

  // The page comes from the browser: there is no server.
  const again = await join({ url: server.url, context: ann.page.context(), isLive: false });
  await again.has("Salt", "Green tea", "Milk");
  await again.isOffline(5);
  const back = await start({ port: server.port });
  await again.isLive();
  const bob = await join({ url: back.url });
  for (const page of [again, bob]) {
    await page.shows("Salt", "Green tea", "Milk");
    await expect(page.checkbox("Milk")).toBeChecked();
    await expect(page.problems).toHaveCount(0);
  }
  expect(await versionOf(back), "seven actions, seven versions").toBe(7);
});

test("P5 a refused action is taken back and says why", async ({ server, cable, join }) => {
  const ann = await join({ url: cable.url });
  const bob = await join({ url: server.url });
  await ann.add("Milk");
  await bob.shows("Milk");

  const tooLong = "x".repeat(201);
  cable.hold();
  await ann.add(tooLong);
  await ann.has(tooLong, "Milk");
  cable.release();
  await expect(ann.problems).toHaveText([`“${"x".repeat(40)}…” was not added: A todo may have at most 200 characters.`]);
  await ann.shows("Milk");
  await expect(ann.field, "what was typed can be mended").toHaveValue(tooLong);
  await ann.field.fill("");
  await ann.button("Dismiss").click();
  await expect(ann.problems).toHaveCount(0);

  // Somebody else was faster.
  cable.hold();
  await bob.delete("Milk");
  await bob.shows();
  await ann.checkbox("Milk").check();
  await expect(ann.checkbox("Milk")).toBeChecked();
  cable.release();
  await expect(ann.problems).toHaveText([/was not ticked: Somebody has deleted it\.$/]);
  await ann.shows();
  await ann.add("   ");
  await expect(ann.problems.first(), "the newest stands first").toHaveText("A todo was not added: Write something first.");
});

test("P5 a refused edit is open again with what was typed, but takes the focus from nobody", async ({ cable, join }) => {
  const ann = await join({ url: cable.url });
  const text = ann.page.getByRole("textbox", { name: "New text" });
  const tooLong = "x".repeat(201);
  await ann.add("Milk");
  await ann.shows("Milk");
  await ann.edit("Milk", tooLong);
  await expect(ann.problems).toHaveText([`“Milk” was not changed to “${"x".repeat(40)}…”: A todo may have at most 200 characters.`]);
  await expect(text).toHaveValue(tooLong);
  await expect(text).toBeFocused();
  await ann.page.keyboard.press("Escape");
  await ann.shows("Milk");

  cable.hold();
  await ann.edit("Milk", tooLong);
  await ann.field.fill("Bread");
  cable.release();
  await expect(text).toHaveValue(tooLong);
  await expect(ann.field).toBeFocused();
  await text.fill("Oat milk");
  await ann.page.keyboard.press("Enter");
  await ann.shows("Oat milk");
});

test("P5 whoever changes a todo while somebody deletes it goes on in the field above, and is told", async ({ server, join }) => {
  const ann = await join({ url: server.url });
  const bob = await join({ url: server.url });
  await ann.add("Bread");
  await ann.add("Milk");
  await bob.shows("Milk", "Bread");
  await ann.button("Edit Milk").click();
  await ann.page.keyboard.type("Oat");
  await bob.delete("Milk");
  await expect(ann.problems).toHaveText(["A todo was not changed to “Oat”: Somebody has deleted it."]);
  await ann.page.keyboard.type(" milk");
  await expect(ann.field).toHaveValue("Oat milk");
  await expect(ann.checkbox("Bread"), "a blank has ticked no other todo").not.toBeChecked();
});

test("P5 a full list takes no more, and says so", async ({ server, join }) => {
  // On Durable Objects each of them is a commit of its own.
  test.setTimeout(180_000);
  const raw = await RawClient.to(server);
  await Promise.all(Array.from({ length: 10_000 }, (_, i) => raw.run({ type: "create", payload: { id: `${i}`, text: `Todo ${i}` } })));
  raw.close();
  const ann = await join({ url: server.url });
  await ann.add("One more");
  await expect(ann.problems).toHaveText(["“One more” was not added: The list is full: delete something first."]);
  await expect(ann.page.getByText("10000 of 10000 left")).toBeVisible();
});

test("P7 what somebody deletes while a page is away is gone on its return", async ({ server, cable, join }) => {
  const ann = await join({ url: cable.url });
  const bob = await join({ url: server.url });
  await ann.add("Milk");
  await ann.add("Bread");
  await bob.shows("Bread", "Milk");
  await cable.pull();
  await ann.isOffline();
  await bob.delete("Milk");
  await bob.edit("Bread", "Rye bread");
  await bob.add("Tea");
  await bob.shows("Tea", "Rye bread");
  await ann.has("Bread", "Milk");
  const joins = frames(ann.page, "framereceived", "joined");
  await cable.plug();
  await ann.isLive();
  await ann.shows("Tea", "Rye bread");
  expect(joins.map(({ reset }) => reset), "it is told what changed, not everything").toEqual([false]);
});

test("P7 SPEC 9.5: a server restored from an old copy: pages take over what it holds, and send what was pending", async ({
  data,
  start,
  join,
}) => {
  const server = await start();
  const ann = await join({ url: server.url });
  const bob = await join({ url: server.url });
  await ann.add("Milk");
  await ann.add("Bread");
  await bob.shows("Bread", "Milk");
  await server.stop();
  const old = `${data}-old`;
  await cp(data, old, { recursive: true });

  const newer = await start({ port: server.port });
  await Promise.all([ann.isLive(), bob.isLive()]);
  await ann.add("Tea");
  await bob.delete("Bread");
  await ann.shows("Tea", "Milk");
  await bob.shows("Tea", "Milk");
  await newer.stop();
  await Promise.all([ann.isOffline(), bob.isOffline()]);
  await ann.add("Salt");
  await bob.checkbox("Milk").check();
  await Promise.all([ann.isOffline(1), bob.isOffline(1)]);
  await rm(data, { recursive: true });
  await cp(old, data, { recursive: true });
  await rm(old, { recursive: true });

  const restored = await start({ port: server.port });
  await Promise.all([ann.isLive(), bob.isLive()]);
  for (const page of [ann, bob, await join({ url: restored.url })]) {
    await page.shows("Salt", "Bread", "Milk");
    await expect(page.checkbox("Milk")).toBeChecked();
    await expect(page.problems).toHaveCount(0);
  }
  expect(await versionOf(restored), "two in the copy, and the two that were pending").toBe(4);
});

/** The frames of one type that a page sends, or gets, on sockets opened from now on. */
function frames(page, direction, type) {
  const found = [];
  page.on("websocket", (socket) =>
    socket.on(direction, ({ payload }) => {
      const frame = JSON.parse(payload);
      if (frame.type === type) found.push(frame);
    }),
  );
  return found;
}
