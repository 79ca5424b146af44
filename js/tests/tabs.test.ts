// Tabs of one browser, each with a room of its own making, against a real server.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";

import { connect } from "../src/index.js";
import { OPEN_ACTIONS } from "../src/protocol.js";
import { browser } from "./support/browser.js";
import { Server } from "./support/server.js";
import { type Action, create, predict, type Todo, until, update } from "./support/todos.js";

let server: Server;
const after: (() => void)[] = [];

beforeAll(async () => {
  server = await Server.start();
});
beforeEach(() => {
  browser();
});
afterEach(() => {
  for (const end of after.splice(0)) end();
  vi.unstubAllGlobals();
});
afterAll(() => server.end());

/** A tab that shows a room until it is closed. */
function tab(name: string, user = "ann") {
  const room = connect(server.host, { WebSocket, user }).room("todos", name);
  const todos = room.channel<Todo, Action>("todos", { reducer: predict });
  /** Every list that was shown. */
  const seen: string[] = [];
  const close = todos.subscribe(() => seen.push(texts()));
  after.push(close);
  const texts = () => todos.rows.map(([, text]) => text).join();
  const shows = (wanted: string) => until(texts, (found) => found === wanted);
  const live = () =>
    until(
      () => room.status.connection,
      (c) => c === "live",
    );
  /** Resolves when the room is left, so that another tab may lead. */
  const closed = () => {
    close();
    return until(
      () => room.status.connection,
      (c) => c === "idle",
    );
  };
  return { room, todos, seen, texts, shows, live, closed };
}

test("SPEC 9.4: what was asked for offline goes out once on return, after a reload, too", async () => {
  const before = tab("offline");
  await before.todos.send(create("a"));
  expect(before.room.status).toMatchObject({ storage: "kept", connection: "live" });
  await server.kill();
  await until(
    () => before.room.status.connection,
    (c) => c === "offline",
  );
  void before.todos.send(create("b"));
  void before.todos.send(update("a", "changed"));
  expect([before.texts(), before.room.status.pending]).toEqual(["changed,b", 2]);
  // Something is pending, so the room is held: a tab that is closed does not ask.
  const reloaded = tab("offline");
  await reloaded.shows("changed,b");
  expect(reloaded.room.status).toMatchObject({ pending: 2, connection: "offline" });
  await server.restart();
  reloaded.room.reconnect();
  await until(
    () => reloaded.room.status.pending,
    (n) => n === 0,
  );
  await tab("offline", "bob").shows("changed,b");
});

test("two tabs are one client; what one asks for both show at once, and neither ever shows it gone", async () => {
  const leader = tab("two");
  await leader.live();
  const follower = tab("two");
  await follower.live();
  await leader.todos.send(create("a"));
  await follower.shows("a");
  follower.seen.length = 0;
  const sent = follower.todos.send(create("b"));
  expect(follower.texts()).toBe("a,b");
  await leader.shows("a,b");
  expect(await sent.accepted).toMatchObject({ status: expect.stringMatching(/accepted|synced/) });
  expect(await sent).toMatchObject({ status: "synced" });
  await until(
    () => follower.room.status.pending,
    (n) => n === 0,
  );
  expect([...new Set(follower.seen)], "P6").toEqual(["a,b"]);
  // A rejection is told where it belongs.
  const refused = follower.todos.send(create("c", " "));
  expect(await refused).toMatchObject({ status: "rejected", error: { reason: "empty" } });
  expect([leader.room.status.problems.length, follower.room.status.problems.length]).toEqual([0, 1]);
  expect([leader.texts(), follower.texts()]).toEqual(["a,b", "a,b"]);
});

test("when the tab that leads is closed, the other one goes on", async () => {
  const leader = tab("handover");
  await leader.todos.send(create("a"));
  const follower = tab("handover");
  await follower.shows("a");
  await leader.closed();
  expect(await follower.todos.send(create("b"))).toMatchObject({ status: "synced" });
  expect([follower.texts(), follower.room.status.connection]).toEqual(["a,b", "live"]);
});

test("an action that is asked for before anything is loaded is shown at once", async () => {
  const first = tab("early");
  const sent = first.todos.send(create("a"));
  expect([first.texts(), first.room.status.pending]).toEqual(["a", 1]);
  await sent;
  expect([...new Set(first.seen)]).toEqual(["a"]);
});

test("SPEC 9.9: open_actions are all that a page takes while nothing is loaded yet", async () => {
  class Silent {
    readonly readyState = 0;
    addEventListener(): void {}
    send(): void {}
    close(): void {}
  }
  const room = connect("localhost", { WebSocket: Silent }).room("todos", "bound");
  for (let i = 0; i < OPEN_ACTIONS; i++) void room.send("todos", create(`${i}`));
  expect([room.status.pending, room.status.problems]).toEqual([OPEN_ACTIONS, []]);
  expect(await room.send("todos", create("one more"))).toMatchObject({ status: "rejected", error: { code: "busy" } });
  expect(room.status.pending).toBe(OPEN_ACTIONS);
});

test("without Web Locks each tab is a client of its own", async () => {
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("sessionStorage", { getItem: () => null, removeItem: () => {} });
  const [one, two] = [tab("no locks"), tab("no locks")];
  await one.todos.send(create("a"));
  await two.todos.send(create("b"));
  await one.shows("a,b");
  expect([one.room.status.storage, two.room.status.storage]).toEqual(["kept", "kept"]);
});

test("a room that is not to be kept is not", async () => {
  const room = connect(server.host, { WebSocket, storage: false }).room("todos", "not kept");
  after.push(room.hold());
  await until(
    () => room.status.connection,
    (c) => c === "live",
  );
  expect(room.status).toMatchObject({ storage: "memory" });
  expect(room.status.storageProblem).toBeUndefined();
  expect(await indexedDB.databases()).toEqual([]);
});
