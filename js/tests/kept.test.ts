// Rooms that are kept on the device, and shared among tabs: against a server that is the test.

import { IDBObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Alone, LEASE_MS, SLOTS } from "../src/alone.js";
import type { Fate } from "../src/client.js";
import type { Audience, Connected, Shown } from "../src/driver.js";
import { Kept } from "../src/kept.js";
import type { Rider } from "../src/link.js";
import type { Down, Json } from "../src/protocol.js";
import { KEPT_ROOMS, Storage } from "../src/storage.js";
import type { Ride, Transport } from "../src/transport.js";
import { browser, type Locks, stored, Wire } from "./support/browser.js";
import { joined, NOW, patch, ROOM, snapshot, total } from "./support/script.js";
import { until } from "./support/todos.js";

let locks: Locks;
let tabs: Tab[];

beforeEach(() => {
  ({ locks } = browser());
  tabs = [];
});
afterEach(async () => {
  for (const tab of tabs) await tab.close();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** A tab: a home, what it told, and what it sent. */
class Tab implements Transport, Audience {
  readonly server = "server";
  readonly isOver = false;
  readonly home: Kept;
  sent: Record<string, Json>[] = [];
  shown: Shown | undefined;
  connection: Connected | undefined;
  keeps: boolean | undefined;
  why: unknown;
  fates: [key: string, fate: Fate["status"], isOthers: boolean][] = [];
  texts: string[] = [];
  #rider: Rider | undefined;
  #isGone = false;
  readonly #wire: Wire | undefined;

  constructor(key = "room of ann") {
    this.home = new Kept(key, ROOM, this, this, navigator.locks === undefined ? Alone : undefined);
    this.home.enter();
    this.#wire = Wire.newest;
    tabs.push(this);
  }

  /** Joins, with these frames for an answer. */
  async join(...frames: Json[]): Promise<void> {
    const rider = await until(
      () => this.#rider,
      (r) => r !== undefined,
    );
    rider?.opened({ type: "welcome", version: 2, rooms: 1, ping_ms: 25_000, frame_bytes: 1 << 20 });
    await until(
      () => this.sent,
      (sent) => sent.some((f) => f.type === "join"),
    );
    for (const frame of frames) this.say(frame);
  }

  say(frame: Json): void {
    this.#rider?.heard(frame as unknown as Down);
  }

  act(key: string, payload = 1): void {
    this.home.act({ key, channel: "counts", action: { type: "add", payload }, at: NOW });
  }

  async close(): Promise<void> {
    if (!this.#isGone) await this.home.leave();
    this.#isGone = true;
  }

  /** It is gone, without a word: what it still does is not to count. */
  crash(): void {
    this.#isGone = true;
    this.#rider = undefined;
    this.#wire?.silence();
    this.sent = [];
    locks.crash();
  }

  get leads(): boolean {
    return this.#rider !== undefined;
  }

  rows(): Json[] {
    return (this.shown?.tables.get("counts")?.rows ?? []).map((row) => [row[0], row[1] as Json]);
  }

  actions(): Json[] {
    return this.sent.flatMap((f) => (f.type === "action" ? [f.number ?? null] : []));
  }

  // As a transport.

  add(rider: Rider): Ride {
    this.#rider = rider;
    const end = () => {
      this.#rider = undefined;
    };
    return { send: (frame) => void this.sent.push(JSON.parse(frame)), reconnect: () => {}, end };
  }

  // As an audience.

  changed(shown: Shown): void {
    this.shown = shown;
  }
  connected(connection: Connected): void {
    this.connection = connection;
  }
  accepted(): void {}
  settled(key: string, fate: Fate, _: unknown, isOthers = false): void {
    this.fates.push([key, fate.status, isOthers]);
  }
  message(text: string): void {
    this.texts.push(text);
  }
  failed(): void {}
  kept(isKept: boolean, why?: unknown): void {
    this.keeps = isKept;
    this.why = why;
  }
}

const EMPTY = [joined(0, 0, true, true), snapshot([])];

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
    ({ locks } = browser());
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

/** A browser without Web Locks, as on a page without TLS. Returns what a tab is that was just opened, and how a page of it ends. */
function withoutLocks() {
  vi.stubGlobal("navigator", {});
  const tab = (session = new Map<string, string>()) => {
    const ends = new Set<() => void>();
    const isHere = () =>
      vi.stubGlobal("sessionStorage", {
        getItem: (key: string) => session.get(key) ?? null,
        setItem: (key: string, value: string) => session.set(key, value),
        removeItem: (key: string) => session.delete(key),
      });
    isHere();
    vi.stubGlobal("addEventListener", (_: string, end: () => void) => ends.add(end));
    vi.stubGlobal("removeEventListener", (_: string, end: () => void) => ends.delete(end));
    const reload = () => {
      isHere();
      for (const end of [...ends]) end();
    };
    return { session, tab: new Tab(), reload };
  };
  return tab;
}

/** The first frame of a kind that a tab sent, or undefined. */
function first(tab: Tab, type: string) {
  return tab.sent.find((frame) => frame.type === type);
}

test("without Web Locks each tab is a client of its own, and what it was asked for outlives it", async () => {
  const open = withoutLocks();
  const [one, two] = [open(), open()];
  await one.tab.join(...EMPTY, patch(0, 1, [total(5)]));
  await two.tab.join(...EMPTY);
  expect([one.tab.keeps, two.tab.keeps]).toEqual([true, true]);
  const [own, other] = [one, two].map(({ tab }) => first(tab, "join")?.client);
  expect(own).not.toBe(other);
  one.tab.act("a");
  await until(
    () => one.tab.actions(),
    (sent) => sent.length === 1,
  );
  await one.tab.close();
  await two.tab.close();
  const again = open().tab;
  await until(
    () => again.rows(),
    (rows) => rows.length === 1,
  );
  await again.join(joined(1, 0, false, true));
  expect(first(again, "join")?.client).toBe(own);
  await vi.waitFor(() => expect(first(again, "action")?.number).toBe(1));
});

test("without Web Locks a page that is loaded again goes on at once, and a copy of its tab is another client", async () => {
  const open = withoutLocks();
  const page = open();
  await page.tab.join(...EMPTY);
  const own = first(page.tab, "join")?.client;
  const copy = open(new Map(page.session)).tab;
  await copy.join(...EMPTY);
  expect(first(copy, "join")?.client).not.toBe(own);
  page.reload();
  const again = open(page.session).tab;
  await again.join(joined(0, 0, false, true));
  expect(first(again, "join")?.client).toBe(own);
  expect(page.session.size, "what it left is not found twice").toBe(0);
});

test("LEASE_MS: a tab that is gone without a word is waited for, then its open actions go out first", async () => {
  const open = withoutLocks();
  const now = vi.spyOn(Date, "now").mockReturnValue(NOW);
  const idle = open().tab;
  await idle.join(...EMPTY);
  const gone = open().tab;
  await gone.join(...EMPTY);
  const own = first(gone, "join")?.client;
  gone.act("a");
  await until(
    () => gone.actions(),
    (sent) => sent.length === 1,
  );
  now.mockReturnValue(NOW + LEASE_MS - 1);
  const early = open().tab;
  await early.join(...EMPTY);
  expect([idle, gone].map((tab) => first(tab, "join")?.client)).not.toContain(first(early, "join")?.client);
  now.mockReturnValue(NOW + LEASE_MS);
  const late = open().tab;
  await late.join(joined(0, 0, false, true));
  expect(first(late, "join")?.client).toBe(own);
  await vi.waitFor(() => expect(first(late, "action")?.number).toBe(1));
});

test("SPEC 9.5: a tab that slept for longer than its lease says no number that another one may have used, and starts anew", async () => {
  const open = withoutLocks();
  const now = vi.spyOn(Date, "now").mockReturnValue(NOW);
  const sleeper = open().tab;
  await sleeper.join(...EMPTY);
  sleeper.act("a");
  await until(
    () => sleeper.actions(),
    (sent) => sent.length === 1,
  );
  const own = first(sleeper, "join")?.client;
  now.mockReturnValue(NOW + LEASE_MS);
  const next = open().tab;
  await next.join(joined(0, 0, false, true));
  expect(first(next, "join")?.client).toBe(own);
  sleeper.sent = [];
  sleeper.act("b");
  await until(
    () => sleeper.fates,
    (fates) => fates.length === 2,
  );
  expect(sleeper.fates.map(([key, fate]) => [key, fate])).toEqual([
    ["a", "unknown"],
    ["b", "unknown"],
  ]);
  expect(sleeper.keeps).toBe(false);
  await sleeper.join(...EMPTY);
  expect(first(sleeper, "action")).toBeUndefined();
  expect(first(sleeper, "join")?.client).not.toBe(own);
});

test("SLOTS: as many tabs keep a room as may, and one more has it in memory", async () => {
  const open = withoutLocks();
  for (let i = 0; i < SLOTS; i++) {
    const { tab } = open();
    await tab.join(...EMPTY);
    expect(tab.keeps).toBe(true);
  }
  const { tab } = open();
  await tab.join(...EMPTY);
  expect([tab.keeps, String(tab.why)]).toEqual([false, expect.stringContaining("As many tabs")]);
});

test("KEPT_ROOMS: without Web Locks a room that a tab holds stays", async () => {
  const open = withoutLocks();
  const before = open().tab;
  await before.join(...EMPTY);
  await before.close();
  const now = Date.now();
  vi.spyOn(Date, "now").mockReturnValue(now);
  await keepOthers(KEPT_ROOMS + 1);
  for (let i = 2; i <= KEPT_ROOMS; i++) {
    await stored("clients", (store) => store.put({ usedAt: now + i }, `room ${i}`));
  }
  await stored("clients", (store) => store.put({ owner: "somebody", usedAt: now - LEASE_MS + 1 }, "held"));
  await stored("clients", (store) => store.put({ owner: "somebody", usedAt: now - LEASE_MS }, "over"));
  const opened = open();
  await vi.waitFor(async () => expect([await records("room 1"), await records("over")].flat()).toEqual([0, 0, 0, 0]));
  expect(await records("held")).toEqual([1, 0]);
  await opened.tab.close();
});

/** Keeps rooms of others, the first used least recently, with a row each; and an open action of those that are named. */
async function keepOthers(count: number, ...withActions: string[]): Promise<void> {
  const client = {
    client: "0".repeat(32),
    last: 1,
    settled: 0,
    born: 0,
    cursor: { version: 1, stamp: 1 },
    columns: [],
  };
  for (let i = 0; i < count; i++) {
    await stored("clients", (store) => store.put({ ...client, usedAt: i }, `room ${i}`));
    await stored("rows", (store) => store.put([], [`room ${i}`, "counts", 0]));
  }
  for (const room of withActions) await stored("pending", (store) => store.put({}, [room, 1]));
}

/** How many records a room has. */
async function records(room: string): Promise<[clients: number, rows: number]> {
  const clients = await stored("clients", (store) => store.count(room));
  return [clients, await stored("rows", (store) => store.count(IDBKeyRange.bound([room], [room, []])))];
}

test("KEPT_ROOMS: as many rooms are kept as may be, and with one more the one goes that was used least recently", async () => {
  const first = new Tab();
  await first.join(...EMPTY, patch(0, 1, [total(7)]));
  await first.close();
  for (const [others, left] of [
    [KEPT_ROOMS - 1, 1],
    [KEPT_ROOMS, 0],
  ] as const) {
    await keepOthers(others);
    const opened = Date.now();
    const tab = new Tab();
    await vi.waitFor(async () => {
      const own = await stored("clients", (store) => store.get("room of ann"));
      expect(own.usedAt).toBeGreaterThanOrEqual(opened);
      expect(await records("room 0")).toEqual([left, left]);
    });
    expect(await records("room 1")).toEqual([1, 1]);
    await tab.close();
    expect([(await records("room of ann"))[0], tab.rows()]).toEqual([1, [["total", 7]]]);
    expect(await stored("clients", (store) => store.count())).toBe(KEPT_ROOMS);
  }
});

test("KEPT_ROOMS: a room with open actions, and one that a tab is in, stay", async () => {
  const before = new Tab();
  await before.join(...EMPTY);
  await before.close();
  await keepOthers(KEPT_ROOMS + 2, "room 0");
  let leave = () => {};
  const inUse = new Promise<void>((resolve) => {
    leave = resolve;
  });
  void locks.request("partysync room 1", {}, () => inUse);
  await Promise.resolve();
  const tab = new Tab();
  await vi.waitFor(async () => expect(await records("room 2")).toEqual([0, 0]));
  for (const room of ["room 0", "room 1", "room 3"]) expect(await records(room), room).toEqual([1, 1]);
  expect(await stored("pending", (store) => store.count())).toBe(1);
  await tab.close();
  leave();
});

test("5,000 rows are kept in few records, and a change writes few of them", async () => {
  const rows = Array.from({ length: 5_000 }, (_, i) => [`row ${i}`, i, NOW, NOW, null]);
  const before = new Tab();
  await before.join(joined(0, 0, true, true), snapshot(rows));
  await before.close();
  expect((await stored("rows", (store) => store.getAll())).length).toBe(64);
  const after = new Tab();
  await until(
    () => after.rows().length,
    (n) => n === 5_000,
  );
  const put = vi.spyOn(IDBObjectStore.prototype, "put");
  await after.join(joined(0, 0, false, true), patch(0, 1, [["row 7", 70, NOW, NOW, null]]));
  await after.close();
  expect(put.mock.calls.filter(([value]) => Array.isArray(value)).length).toBe(1);
  const third = new Tab();
  await until(
    () => third.shown?.tables.get("counts")?.row("row 7")?.[1],
    (value) => value === 70,
  );
});
