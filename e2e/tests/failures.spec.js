// What happens to rows and actions when a server or a network fails, or the server refuses.

import { expect, test } from "../support/fixtures.js";

const TOO_LONG = "x".repeat(201);

test("P3 server killed with SIGKILL and restarted on the same data dir and port: rows are there, pages reconnect by themselves and see each other's further changes", async ({
  start,
  join,
}) => {
  const before = await start();
  const ann = await join({ url: before.url, room: "home" });
  const bob = await join({ url: before.url, room: "home" });
  await ann.add("Milk");
  await ann.add("Bread");
  await ann.shows("Milk", "Bread");
  await ann.checkbox("Milk").check();
  await ann.delete("Bread");
  await ann.add("Tea");
  await ann.shows("Milk", "Tea");

  await before.kill();
  await Promise.all([ann.isCutOff(), bob.isCutOff()]);
  const after = await start({ port: before.port });
  await Promise.all([ann.isLive(), bob.isLive()]);

  const late = await join({ url: after.url, room: "home" });
  for (const page of [ann, bob, late]) {
    await page.shows("Milk", "Tea");
    await expect(page.checkbox("Milk")).toBeChecked();
  }
  await ann.add("Salt");
  await bob.shows("Milk", "Tea", "Salt");
  await bob.delete("Milk");
  await ann.shows("Tea", "Salt");
  await late.shows("Tea", "Salt");
});

test("P7 a change made while the server was away is sent on its return, once", async ({ start, join }) => {
  const before = await start();
  const ann = await join({ url: before.url, room: "home" });
  await before.kill();
  await ann.isCutOff();
  await ann.add("Milk");
  await expect(ann.todo("Milk")).toHaveAttribute("aria-busy", "true");

  const after = await start({ port: before.port });
  await ann.shows("Milk");
  const bob = await join({ url: after.url, room: "home" });
  await bob.shows("Milk");
  await expect(ann.errors).toHaveCount(0);
});

test("a refused action is undone and says why", async ({ server, join }) => {
  const ann = await join({ url: server.url, room: "home" });
  const bob = await join({ url: server.url, room: "home" });
  await ann.add("Milk");

  await ann.add(TOO_LONG);
  await expect(ann.errors).toHaveText([/“x{40}…” was not added: .*\w/]);
  await ann.shows("Milk");
  // What was typed is not lost: it can be shortened.
  await expect(ann.field).toHaveValue(TOO_LONG);
  await ann.page.getByRole("button", { name: "Dismiss" }).click();
  await expect(ann.errors).toHaveCount(0);

  await ann.add("   ");
  await expect(ann.errors).toHaveText([/Not added: .*\w/]);
  await ann.edit("Milk", TOO_LONG);
  await expect(ann.errors).toHaveText([/Not added/, /“x{40}…” was not changed: .*\w/]);
  await ann.shows("Milk");

  await ann.add("y".repeat(200));
  await bob.shows("Milk", "y".repeat(200));
});

test("an action on a todo that somebody else deleted is undone and says why", async ({ server, cable, join }) => {
  const ann = await join({ url: cable.url, room: "home" });
  const bob = await join({ url: server.url, room: "home" });
  await ann.add("Milk");
  await bob.shows("Milk");
  cable.hold();
  await bob.delete("Milk");
  await bob.shows();
  await ann.checkbox("Milk").check();
  cable.release();
  await expect(ann.errors).toHaveText([/not changed: .*\w/i]);
  await ann.shows();
});

test("P6 an own change shows at once, half-opaque until its ack", async ({ cable, join }) => {
  const ann = await join({ url: cable.url, room: "home" });
  cable.hold();
  await ann.add("Milk");
  const milk = ann.todo("Milk");
  await expect(milk).toHaveCSS("opacity", "0.5");
  await expect(milk).toHaveAttribute("aria-busy", "true");
  cable.release();
  await expect(milk).toHaveAttribute("aria-busy", "false");
  await expect(milk).toHaveCSS("opacity", "1");

  cable.hold();
  await ann.checkbox("Milk").check();
  await ann.delete("Milk");
  await expect(milk).toHaveAttribute("aria-busy", "true");
  cable.release();
  await ann.shows();
});

test("an action without an answer in 10 s is undone and says so; what became of it is shown afterwards", async ({
  cable,
  join,
}) => {
  const ann = await join({ url: cable.url, room: "home" });
  // Only this page's clock is moved: nobody waits ten seconds.
  await ann.page.clock.install();
  await ann.add("Milk");
  await ann.shows("Milk");
  cable.hold();
  await ann.add("Bread");
  await expect(ann.todo("Bread")).toHaveAttribute("aria-busy", "true");
  await ann.page.clock.fastForward(11_000);
  await expect(ann.errors).toHaveText([/“Bread” was not added: the server did not answer within 10 seconds/]);
  await expect(ann.todo("Bread")).toHaveCount(0);

  cable.release();
  await ann.shows("Milk", "Bread");
  await ann.isLive();
});

test("P7 an action given up before it could be sent is never sent", async ({ server, cable, join }) => {
  const ann = await join({ url: cable.url, room: "home" });
  await ann.page.clock.install();
  await cable.pull();
  await ann.isCutOff();
  await ann.add("Milk");
  await ann.page.clock.fastForward(11_000);
  await expect(ann.errors).toHaveText([/“Milk” was not added: there was no connection/]);
  await ann.shows();

  await cable.plug();
  await ann.isLive();
  await ann.add("Bread");
  await ann.shows("Bread");
  const bob = await join({ url: server.url, room: "home" });
  await bob.shows("Bread");
});

test("P4 an action whose answer was lost with the connection is sent again and not run twice", async ({
  server,
  cable,
  join,
}) => {
  const ann = await join({ url: cable.url, room: "home" });
  const bob = await join({ url: server.url, room: "home" });
  cable.hold();
  await ann.add("Milk");
  await bob.shows("Milk"); // So the server has run it, and its answer is in the cable.
  await cable.pull();
  cable.release();
  await ann.isCutOff();
  await expect(ann.todo("Milk")).toHaveAttribute("aria-busy", "true");

  await cable.plug();
  await ann.isLive();
  await ann.shows("Milk");
  await expect(ann.errors).toHaveCount(0);
  await bob.shows("Milk");
});

test("P7 deletion made while a page was cut off is gone on its return", async ({ server, cable, join }) => {
  const ann = await join({ url: cable.url, room: "home" });
  const bob = await join({ url: server.url, room: "home" });
  await ann.add("Milk");
  await ann.add("Bread");
  await bob.shows("Milk", "Bread");

  await cable.pull();
  await ann.isCutOff();
  await bob.delete("Milk");
  await bob.edit("Bread", "Rye bread");
  await bob.add("Tea");
  await bob.shows("Rye bread", "Tea");
  await expect(ann.todos).toHaveText(["Milk", "Bread"]);

  const asked = syncRequests(ann.page);
  await cable.plug();
  await ann.isLive();
  expect(asked, "it asks for what it missed, not for everything").toEqual([
    { channel: "todos", sync: true, from: expect.any(Number) },
  ]);
  await ann.shows("Rye bread", "Tea");
  await bob.add("Salt");
  await ann.shows("Rye bread", "Tea", "Salt");
});

/** The sync requests that the page sends on sockets opened from now on. */
function syncRequests(page) {
  const requests = [];
  page.on("websocket", (socket) =>
    socket.on("framesent", ({ payload }) => {
      const frame = JSON.parse(payload);
      if (frame.sync) requests.push(frame);
    }),
  );
  return requests;
}
