// Rooms that are kept on the device, and shared among tabs: against a server that is the test.

import { IDBObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Json } from "../src/protocol.js";
import { Storage } from "../src/storage.js";
import { stored } from "./support/browser.js";
import { joined, NOW, patch, ROOM, snapshot, total } from "./support/script.js";
import { closeBrowser, EMPTY, openBrowser, Tab } from "./support/tab.js";
import { until } from "./support/todos.js";

beforeEach(() => {
  openBrowser();
});
afterEach(closeBrowser);

function ack(number: number, version: number): Json {
  return { type: "ack", room: ROOM, number, version };
}

/** The open actions that are stored. */
function queue(): Promise<Record<string, unknown>[]> {
  return stored("pending", (store) => store.getAll());
}

test("rows, cursor and open actions are there after a reload, under the same id", async () => {
  const before = new Tab();
  await before.join(...EMPTY, patch(0, 1, [total(5), ["x", 1, NOW, NOW, null]]), patch(1, 2, [], ["x"]));
  expect(before.keeps).toBe(true);
  before.act("a");
  await until(
    () => before.actions(),
    (sent) => sent.length === 1,
  );
  await before.close();
  const after = new Tab();
  await until(
    () => after.rows(),
    (rows) => rows.length === 1,
  );
  expect([after.rows(), after.shown?.pending.map(({ key }) => key)]).toEqual([[["total", 5]], ["a"]]);
  await after.join(joined(2, 0, false, true));
  const [first, again] = [before.sent, after.sent].map((sent) => sent.find((f) => f.type === "join"));
  expect(again).toEqual({ ...first, born: 0, cursor: { version: 2, stamp: 102 } });
  await until(
    () => after.actions(),
    (sent) => sent.length === 1,
  );
  expect(after.actions()).toEqual([1]);
});

test("SPEC 9.5: a number is not said before it is stored as sent", async () => {
  const tab = new Tab();
  await tab.join(...EMPTY);
  let store = () => {};
  const save = Storage.prototype.save;
  const spy = vi.spyOn(Storage.prototype, "save").mockImplementation(async function (this: Storage, kept) {
    await new Promise<void>((resolve) => {
      store = resolve;
    });
    return await save.call(this, kept);
  });
  tab.act("a");
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([tab.actions(), await queue()]).toEqual([[], []]);
  spy.mockRestore();
  store();
  await until(
    () => tab.actions(),
    (sent) => sent.length === 1,
  );
  expect(await queue()).toMatchObject([{ key: "a", number: 1, sent: true }]);
});

test("SPEC 9.4: what a tab sent that crashed is sent again under its number, and its fate told to whoever leads", async () => {
  const before = new Tab();
  await before.join(...EMPTY);
  before.act("a");
  await until(
    () => before.actions(),
    (sent) => sent.length === 1,
  );
  before.crash();
  const after = new Tab();
  await after.join(joined(1, 1, false, true), patch(0, 1, [total(1)]));
  await until(
    () => after.actions(),
    (sent) => sent.length === 1,
  );
  after.say(ack(1, 1));
  expect(after.fates).toEqual([["a", "synced", false]]);
  expect(after.shown?.pending).toEqual([]);
  await after.close();
  expect(await queue()).toEqual([]);
});

test("a cache that can't be read is thrown away, and the queue is not", async () => {
  const before = new Tab();
  await before.join(...EMPTY, patch(0, 1, [total(5)]));
  before.act("a");
  await until(
    () => before.actions(),
    (sent) => sent.length === 1,
  );
  await before.close();
  const [key] = await stored("rows", (store) => store.getAllKeys());
  await stored("rows", (store) => store.put([{ no: "row" }], key));
  const after = new Tab();
  await after.join();
  expect(after.sent[0]).toMatchObject({ cursor: null, client: before.sent[0]?.client });
  expect([after.rows(), after.shown?.pending.length]).toEqual([[], 1]);
  for (const frame of [joined(1, 0, true, true), snapshot([total(5)])]) after.say(frame);
  await after.close();
  const third = new Tab();
  await until(
    () => third.rows(),
    (rows) => rows.length === 1,
  );
});

test("an open action that can't be read stays where it is, and those that can be go out", async () => {
  const before = new Tab();
  await before.join();
  for (const key of ["a", "b"]) before.act(key);
  await before.close();
  const [first] = await stored("pending", (store) => store.getAllKeys());
  await stored("pending", (store) => store.put({ from: "another world" }, first));
  const after = new Tab();
  await until(
    () => after.shown?.pending.map(({ key }) => key),
    (keys) => keys?.join() === "b",
  );
  await after.close();
  expect(await queue()).toEqual([{ from: "another world" }, expect.objectContaining({ key: "b" })]);
});

test("SPEC 6.7: without its client's id what was never sent goes out under another, and of the rest the fate is unknown", async () => {
  const before = new Tab();
  await before.join(...EMPTY);
  before.act("sent");
  await until(
    () => before.actions(),
    (sent) => sent.length === 1,
  );
  before.say({ type: "left", room: ROOM, error: { code: "busy", text: "", fault: "server", retry: "later" } });
  before.act("unsent");
  await before.close();
  await stored("clients", (store) => store.clear());
  const after = new Tab();
  await after.join(...EMPTY);
  await until(
    () => after.actions(),
    (sent) => sent.length === 1,
  );
  expect([after.fates, after.actions()]).toEqual([[["sent", "unknown", false]], [1]]);
  expect(after.sent[0]?.client).toMatch(/^[0-9a-f]{32}$/);
  expect(after.sent[0]?.client).not.toBe(before.sent[0]?.client);
  await after.close();
  expect(await queue()).toMatchObject([{ key: "unsent", number: 1, sent: true }]);
});

test("storage that is refused is said, and the room works without", async () => {
  vi.stubGlobal("indexedDB", {
    open() {
      throw new Error("SecurityError: a private window");
    },
  });
  const tab = new Tab();
  await tab.join(...EMPTY, patch(0, 1, [total(5)]));
  expect([tab.keeps, String(tab.why), tab.rows()]).toEqual([
    false,
    "Error: SecurityError: a private window",
    [["total", 5]],
  ]);
  tab.act("a");
  expect(tab.actions()).toEqual([1]);
});

test("on a disk that is full the rows go, and the queue is kept, and it is said", async () => {
  const tab = new Tab();
  await tab.join(...EMPTY, patch(0, 1, [total(5)]));
  tab.act("a");
  await until(
    () => tab.actions(),
    (sent) => sent.length === 1,
  );
  expect((await stored("rows", (store) => store.getAll())).length).toBe(1);
  const put = IDBObjectStore.prototype.put;
  vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(function (this: IDBObjectStore, value, key) {
    if (Array.isArray(value)) throw new Error("QuotaExceededError");
    return put.call(this, value, key);
  });
  tab.say(patch(1, 2, [["y", 1, NOW, NOW, null]]));
  tab.act("b");
  await until(
    () => tab.actions(),
    (sent) => sent.length === 2,
  );
  expect([tab.keeps, String(tab.why)]).toEqual([true, "Error: QuotaExceededError"]);
  expect((await queue()).map(({ key }) => key)).toEqual(["a", "b"]);
  expect(await stored("rows", (store) => store.getAll())).toEqual([]);
  await tab.close();
  const again = new Tab();
  await until(
    () => again.shown?.pending.length,
    (n) => n === 2,
  );
});

test("where nothing can be stored any more it is said, and what waits for it goes out all the same", async () => {
  const tab = new Tab();
  await tab.join(...EMPTY);
  vi.spyOn(Storage.prototype, "save").mockRejectedValue(new Error("InvalidStateError"));
  tab.act("a");
  tab.act("b");
  await until(
    () => tab.actions(),
    (sent) => sent.length === 2,
  );
  expect([tab.keeps, String(tab.why)]).toEqual([false, "Error: InvalidStateError"]);
});

test("a follower shows what the leader does, and its actions go out once, through the leader", async () => {
  const [leader, follower] = [new Tab(), new Tab()];
  await leader.join(...EMPTY, patch(0, 1, [total(5), ["x", 1, NOW, NOW, null]]));
  await until(
    () => follower.rows(),
    (rows) => rows.length === 2,
  );
  expect([follower.leads, follower.connection, follower.keeps]).toEqual([false, leader.connection, true]);
  const kept = follower.shown?.tables.get("counts")?.row("total");
  leader.say(patch(1, 2, [["y", 2, NOW, NOW, null]], ["x"]));
  await until(
    () => follower.rows(),
    (rows) => rows.join().includes("y"),
  );
  expect(follower.rows()).toEqual(leader.rows());
  expect(follower.shown?.tables.get("counts")?.row("total"), "the same object").toBe(kept);
  follower.act("mine");
  await until(
    () => leader.actions(),
    (sent) => sent.length === 1,
  );
  await until(
    () => follower.shown?.pending.length,
    (n) => n === 1,
  );
  leader.say(ack(1, 3));
  leader.say(patch(2, 3, [total(6)]));
  await until(
    () => follower.fates,
    (fates) => fates.length === 1,
  );
  await until(
    () => follower.rows().join(),
    (rows) => rows.includes("total,6"),
  );
  expect([follower.fates, leader.fates]).toEqual([[["mine", "synced", true]], [["mine", "synced", true]]]);
  leader.say({ type: "message", room: ROOM, text: "hi" });
  await until(
    () => follower.texts,
    (texts) => texts.join() === "hi",
  );
  const late = new Tab();
  await until(
    () => late.rows().join(),
    (rows) => rows === leader.rows().join(),
  );
});

test("when the leader goes, a follower leads with the same id, from where it stopped", async () => {
  const [leader, follower] = [new Tab(), new Tab()];
  await leader.join(...EMPTY, patch(0, 1, [total(5)]));
  await until(
    () => follower.rows(),
    (rows) => rows.length === 1,
  );
  await leader.close();
  await until(
    () => follower.leads,
    (leads) => leads,
  );
  await follower.join(joined(1, 0, false, true));
  expect(follower.sent[0]).toMatchObject({ client: leader.sent[0]?.client, cursor: { version: 1, stamp: 101 } });
  expect(follower.rows()).toEqual([["total", 5]]);
});

test("what a follower asked for is neither lost nor done twice when the leader crashes", async () => {
  for (const [has, leaves] of [
    ["nothing", []],
    ["it stored and sent", [1]],
  ] as const) {
    openBrowser();
    const [leader, follower] = [new Tab(has), new Tab(has)];
    await leader.join(...EMPTY);
    await until(
      () => follower.shown?.client,
      (client) => client !== undefined,
    );
    // The leader is gone before it heard of it, or after it sent it.
    if (has === "nothing") leader.crash();
    follower.act("mine");
    if (has !== "nothing") {
      await until(
        () => leader.actions(),
        (sent) => sent.length === 1,
      );
      leader.crash();
    }
    await until(
      () => follower.leads,
      (leads) => leads,
    );
    await follower.join(joined(0, leaves.length, false, true));
    await until(
      () => follower.actions(),
      (sent) => sent.length === 1,
    );
    expect(follower.actions(), has).toEqual([1]);
    expect(follower.shown?.pending.map(({ key }) => key)).toEqual(["mine"]);
  }
});

test("a fate that a tab has not heard of is told by the next leader, and the action not done again", async () => {
  const [leader, follower] = [new Tab(), new Tab()];
  await leader.join(...EMPTY);
  follower.act("mine");
  await until(
    () => leader.actions(),
    (sent) => sent.length === 1,
  );
  for (const frame of [ack(1, 1), patch(0, 1, [total(1)])]) leader.say(frame);
  await leader.close();
  await follower.close();
  const deaf = new Tab();
  deaf.act("mine");
  await deaf.join(joined(1, 1, false, true));
  await until(
    () => deaf.fates,
    (fates) => fates.length === 1,
  );
  expect([deaf.fates, deaf.shown?.pending, deaf.actions()]).toEqual([[["mine", "synced", false]], [], []]);
});

test("what a follower asks for while the leader is still reading is not forgotten", async () => {
  const leader = new Tab();
  const follower = new Tab();
  follower.act("mine");
  await leader.join(...EMPTY);
  await until(
    () => leader.actions(),
    (sent) => sent.length === 1,
  );
  await until(
    () => follower.shown?.pending.length,
    (n) => n === 1,
  );
});

test("what a follower asks for while nobody leads is asked of the next leader", async () => {
  const [leader, heir, follower] = [new Tab(), new Tab(), new Tab()];
  await leader.join(...EMPTY);
  await until(
    () => [heir, follower].every((tab) => tab.shown !== undefined),
    (both) => both,
  );
  leader.crash();
  follower.act("mine");
  await heir.join(joined(0, 0, false, true));
  await until(
    () => heir.actions(),
    (sent) => sent.length === 1,
  );
  await until(
    () => follower.shown?.pending.length,
    (n) => n === 1,
  );
  expect(heir.actions()).toEqual([1]);
});

test("a tab that is closed while it takes the lead writes nothing and lets others lead", async () => {
  const first = new Tab();
  const leave = first.close();
  const second = new Tab();
  await leave;
  await second.join(...EMPTY);
  await until(
    () => second.shown?.client,
    (client) => client !== undefined,
  );
  expect([first.leads, second.leads]).toEqual([false, true]);
});

test("rooms, servers and users are kept apart", async () => {
  const [ann, bob] = [new Tab("ann"), new Tab("bob")];
  await ann.join(...EMPTY, patch(0, 1, [total(5)]));
  await bob.join(...EMPTY);
  expect([ann.leads, bob.leads]).toEqual([true, true]);
  expect(ann.sent[0]?.client).not.toBe(bob.sent[0]?.client);
  await ann.close();
  await bob.close();
  const again = new Tab("bob");
  await again.join();
  expect(again.rows()).toEqual([]);
  expect(again.sent[0]?.client).toBe(bob.sent[0]?.client);
});

test("what is forgotten is gone from the device, and taken from the server anew", async () => {
  const [leader, follower] = [new Tab(), new Tab()];
  await leader.join(...EMPTY, patch(0, 1, [total(5)]));
  leader.act("open");
  await until(
    () => leader.actions(),
    (sent) => sent.length === 1,
  );
  const client = leader.sent[0]?.client;
  leader.sent = [];
  await until(
    () => follower.rows(),
    (rows) => rows.length === 1,
  );
  await follower.home.forget();
  await until(
    () => leader.fates,
    (fates) => fates.length === 1,
  );
  expect(leader.fates).toEqual([["open", "unknown", false]]);
  await until(
    () => follower.rows(),
    (rows) => rows.length === 0,
  );
  await leader.join(...EMPTY);
  const join = leader.sent.find((f) => f.type === "join");
  expect(join?.cursor).toBeNull();
  expect(join?.client).not.toBe(client);
  expect([await queue(), await stored("rows", (store) => store.getAll())]).toEqual([[], []]);
});
