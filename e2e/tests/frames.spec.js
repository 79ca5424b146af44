// What the protocol allows a server to send and this one rarely does: here the test is the server.

import { expect, test } from "../support/fixtures.js";

const milk = ["a", "Milk", 0, 1000, 1000, null];
const bread = ["b", "Bread", 1, 2000, 2000, null];
const update = (...rows) => ({ broadcast: true, type: "update", channel: "todos", payload: rows });

/** Opens a page whose socket ends in the test, its first sync answered with `rows`. */
async function openWith(rows, { context, server, join }) {
  const sent = [];
  let socket;
  await context.routeWebSocket(/\/parties\/todos\/home\?_pk=/, (route) => {
    socket = route;
    route.onMessage((text) => {
      const frame = JSON.parse(text);
      sent.push(frame);
      if (frame.sync) send({ sync: true, channel: "todos", payload: rows });
    });
  });
  const send = (frame) => socket.send(JSON.stringify(frame));
  const page = await join({ url: server.url, room: "home", context });
  return { page, sent, send, sendText: (text) => socket.send(text) };
}

test("P10 it speaks as the protocol says", async ({ context, server, join }) => {
  const { page, sent } = await openWith([milk], { context, server, join });
  await page.add("  Tea ");
  await page.checkbox("Milk").check();
  await page.delete("Milk");
  await expect.poll(() => sent.length).toBe(4);

  const [sync, create, change, remove] = sent;
  expect(sync).toEqual({ channel: "todos", sync: true, from: null });
  const rpc = { id: expect.stringMatching(/^[a-z0-9]{8}$/), channel: "todos", rpc: true };
  const uuid = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(create).toEqual({ ...rpc, action: { type: "create", payload: { id: uuid, text: "Tea", completed: 0 } } });
  expect(change).toEqual({ ...rpc, action: { type: "update", payload: { id: "a", text: "Milk", completed: 1 } } });
  expect(remove).toEqual({ ...rpc, action: { type: "delete", payload: { id: "a" } } });
});

test("P10 rows come and go as the protocol says, blanked tombstones included", async ({ context, server, join }) => {
  const { page, send } = await openWith([bread, milk], { context, server, join });
  await page.shows("Milk", "Bread"); // by the time they were made
  send(update(["a", null, null, null, 3000, 3000]));
  await page.shows("Bread");
  send(update(["c", null, null, null, 3001, 3001])); // never heard of
  send(update(["b", "Rye bread", 0, 2000, 4000, null], ["d", "Tea", 0, 4000, 4000, null]));
  await page.shows("Rye bread", "Tea");
  await expect(page.checkbox("Rye bread")).not.toBeChecked();
  send({ sync: true, channel: "todos", payload: [["d", "Tea", 0, 4000, 5000, 5000]] });
  await page.shows("Rye bread");
  send({ broadcast: true, type: "update", channel: "others", payload: [["e", "Not ours", 0, 1, 1, null]] });
  send({ broadcast: true, type: "delete-all", channel: "todos" });
  await page.shows();
  await expect(page.page.getByText("Nothing to do yet")).toBeVisible();
});

test("an exception is shown, and frames that mean nothing do no harm", async ({ context, server, join }) => {
  const { page, send, sendText } = await openWith([milk], { context, server, join });
  for (const text of ["", "null", "5", "[", "{}", '{"channel":"todos"}', '"text"']) sendText(text);
  send({ type: "success", rpc: true, channel: "todos", id: "unknown", result: [] });
  send({ type: "error", rpc: true, channel: "todos", id: "unknown", error: ["nobody asked"] });
  send({ type: "exception", rpc: true, exception: ["first line", "second line"] });
  await expect(page.errors).toHaveText(["first line\nsecond line"]);
  await page.shows("Milk");
});
