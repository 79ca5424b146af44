// P6: no frame of the page shows the old state again once the new one was shown. Between an ack and the patch that carries its rows
// there is time here, which a store would have to bridge that let go of a pending action too early.

import { setTimeout as sleep } from "node:timers/promises";

import { expect, test } from "../support/todo.js";
import { framesSeen, recordFrames } from "../support/record.js";

const GAP_MS = 150;

/** All sockets of a browser get an ack, and only a while after it what is behind it. */
async function withGaps(context) {
  const acks = [];
  await context.routeWebSocket(/\/parties\//, (page) => {
    const server = page.connectToServer();
    let last = Promise.resolve();
    server.onMessage((text) => {
      const isAck = JSON.parse(text).type === "ack";
      last = last.then(() => page.send(text)).then(() => isAck && acks.push(text) && sleep(GAP_MS));
    });
  });
  return acks;
}

test("P6 no frame around an ack shows the old state", async ({ server, browser, join }) => {
  const context = await browser.newContext();
  const acks = await withGaps(context);
  const ann = await join({ url: server.url, context });
  const bob = await join({ url: server.url });
  await ann.add("Milk");
  await ann.add("Bread");
  await ann.isLive();
  await recordFrames(ann.page);
  acks.length = 0;

  const changes = [
    [() => ann.checkbox("Milk").check(), "Bread Milk+"],
    [() => ann.checkbox("Milk").uncheck(), "Bread Milk"],
    [() => ann.add("Tea"), "Tea Bread Milk"],
    [() => ann.delete("Bread"), "Tea Milk"],
    [() => bob.checkbox("Tea").check(), "Tea+ Milk"],
    // Several at once, and what somebody else did between.
    [() => ann.delete("Tea"), "Milk"],
    [() => ann.add("Salt"), "Salt Milk"],
    [() => ann.checkbox("Salt").check(), "Salt+ Milk"],
  ];
  for (const [change] of changes.slice(0, 5)) {
    await change();
    await ann.isLive();
    await sleep(GAP_MS);
  }
  await expect(ann.checkbox("Tea")).toBeChecked();
  for (const [change] of changes.slice(5)) await change();
  await ann.isLive();
  await ann.shows("Salt", "Milk");
  await sleep(2 * GAP_MS);
  await ann.checkbox("Milk").check();
  await ann.isLive();

  const expected = ["Bread Milk", ...changes.map(([, shown]) => shown)];
  expect(await framesSeen(ann.page)).toEqual(expected);
  expect(acks.length, "each of its own actions was acked").toBe(8);
  await context.close();
});

test("P6 an edited text is never the old one again", async ({ server, browser, join }) => {
  const context = await browser.newContext();
  await withGaps(context);
  const ann = await join({ url: server.url, context });
  await ann.add("Milk");
  await ann.isLive();
  await ann.button("Edit Milk").click();
  await ann.page.getByRole("textbox", { name: "New text" }).fill("Oat");
  await recordFrames(ann.page);
  await ann.page.keyboard.press("Enter");
  await ann.shows("Oat");
  await ann.isLive();
  await sleep(2 * GAP_MS);
  await ann.add("End");
  expect(await framesSeen(ann.page)).toEqual(["Oat"]);
  await context.close();
});

test("P4 P6 a todo whose answer was lost with the connection is never shown twice", async ({ server, browser, cable, join }) => {
  const context = await browser.newContext();
  await withGaps(context);
  const ann = await join({ url: cable.url, context });
  const bob = await join({ url: server.url });
  cable.hold();
  await ann.add("Milk");
  await bob.shows("Milk"); // So it is done, and its answer is in the cable.
  await cable.pull();
  cable.release();
  await ann.isOffline(1);
  await recordFrames(ann.page);
  await cable.plug();
  await ann.isLive();
  await ann.add("End");
  expect(await framesSeen(ann.page)).toEqual(["Milk"]);
  await context.close();
});
