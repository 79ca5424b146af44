// Several rooms on sockets that open again by themselves, against a server that is the test.

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type Connection, type ConnectionOptions, connect, roomOf } from "../src/index.js";
import { OPEN_ACTIONS } from "../src/protocol.js";
import { delay, isFinal } from "../src/redial.js";
import { FakeSocket, row } from "./support/fake.js";
import { type Action, create, predict, type Todo } from "./support/todos.js";

/** Those that were opened, in order. */
let sockets: Dialled[];

class Dialled extends FakeSocket {
  readonly address: string;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    super(new URL(url).pathname.split("/").slice(2).join("/"));
    this.address = url;
    this.protocols = protocols;
    sockets.push(this);
  }

  welcome(rooms: number): void {
    this.readyState = 1;
    this.emit("open");
    this.say({ type: "welcome", version: 2, rooms, ping_ms: 25_000, frame_bytes: 1 << 20 });
  }

  joined(room: string, rows = [row("a")]): void {
    const channels = { todos: ["id", "text", "completed", "created_at", "updated_at", "deleted_at"] };
    this.say({ type: "joined", room, version: 1, stamp: 1, last: 0, known: true, reset: true, channels });
    this.say({ type: "snapshot", room, channel: "todos", rows, more: false });
  }

  left(room: string, code: string, retry = "never"): void {
    this.say({ type: "left", room, error: { code, text: code, fault: "client", retry } });
  }

  joins(): unknown[] {
    return this.sent.flatMap((f) => (f.type === "join" ? [f.room] : []));
  }

  lose(code: number, reason = ""): void {
    this.readyState = 3;
    this.emit("close", { code, reason });
  }
}

beforeEach(() => {
  sockets = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function open(options: ConnectionOptions = {}): Connection {
  return connect("server", { WebSocket: Dialled, ...options });
}

/** Holds rooms of a connection, and lets its timers run. */
async function hold(connection: Connection, ...names: string[]) {
  const rooms = names.map((name) => connection.room("todos", name));
  for (const room of rooms) room.hold();
  await vi.advanceTimersByTimeAsync(0);
  return rooms;
}

function nth(i: number): Dialled {
  const socket = sockets[i];
  if (socket === undefined) throw new Error(`there are ${sockets.length} sockets`);
  return socket;
}

test("SPEC 8.2: it asks for version 2 by the subprotocol, over TLS unless it is this machine", async () => {
  await hold(open(), "a b");
  await hold(connect("localhost:8787", { WebSocket: Dialled, prefix: "rooms", query: { v: "1" } }), "x");
  await hold(connect("https://example.com", { WebSocket: Dialled }), "x");
  expect(sockets.map((s) => s.address)).toEqual([
    "wss://server/parties/todos/a%20b",
    "ws://localhost:8787/rooms/todos/x?v=1",
    "wss://example.com/parties/todos/x",
  ]);
  expect(nth(0).protocols).toEqual(["partysync.v2"]);
});

test("SPEC 8.32: a socket carries as many rooms as it says; further ones get more sockets", async () => {
  await hold(open(), "a", "b", "c");
  expect(sockets.length, "until it is known how many, there is one").toBe(1);
  nth(0).welcome(2);
  await vi.advanceTimersByTimeAsync(0);
  expect(nth(0).joins()).toEqual(["todos/a", "todos/b"]);
  expect(nth(1).address).toMatch("todos/c");
  nth(1).welcome(2);
  await vi.advanceTimersByTimeAsync(0);
  expect(nth(1).joins()).toEqual(["todos/c"]);
});

test("SPEC 8.32: a room that the socket has no place for goes to another one", async () => {
  const [, b] = await hold(open(), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(0).joined("todos/a");
  nth(0).left("todos/b", "too_many_rooms");
  await vi.advanceTimersByTimeAsync(0);
  expect(nth(1).address).toMatch("todos/b");
  nth(1).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(1).joined("todos/b");
  expect(b?.status).toMatchObject({ connection: "live", problems: [] });
});

test("SPEC 8.34: a room that ends alone is entered again, and the others go on", async () => {
  const [a, b] = await hold(open(), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  for (const room of ["todos/a", "todos/b"]) nth(0).joined(room);
  nth(0).left("todos/b", "busy", "later");
  expect([a?.status.connection, b?.status.connection]).toEqual(["live", "offline"]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([sockets.length, nth(0).joins()]).toEqual([1, ["todos/a", "todos/b", "todos/b"]]);
});

test("SPEC 13.4: a room that may not be entered is said to be refused, and not asked for again until it is told to", async () => {
  const [a] = await hold(open(), "a");
  nth(0).lose(4403, "Members only.");
  expect(a?.status).toMatchObject({ connection: "refused", refusal: { code: "not_allowed", text: "Members only." } });
  await vi.advanceTimersByTimeAsync(600_000);
  expect(sockets.length).toBe(1);
  a?.reconnect();
  await vi.advanceTimersByTimeAsync(0);
  nth(1).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  nth(1).joined("todos/a");
  expect(a?.status.connection).toBe("live");
  expect(a?.status.refusal).toBeUndefined();
});

test("SPEC 13.3: further rooms of a socket that is refused are entered by themselves", async () => {
  const [a, b] = await hold(open(), "a", "b");
  nth(0).lose(4403, "Members only.");
  await vi.advanceTimersByTimeAsync(0);
  expect(a?.status.connection).toBe("refused");
  expect(nth(1).address).toMatch("todos/b");
  nth(1).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(1).joined("todos/b");
  expect(b?.status.connection).toBe("live");
});

test("SPEC 13.3: the same goes for rooms that were on it before", async () => {
  const [a, b] = await hold(open(), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  for (const room of ["todos/a", "todos/b"]) nth(0).joined(room);
  nth(0).lose(1006);
  await vi.advanceTimersByTimeAsync(6_000);
  nth(1).lose(4403, "Members only.");
  await vi.advanceTimersByTimeAsync(0);
  nth(2).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(2).joined("todos/b");
  expect([a?.status.connection, b?.status.connection, nth(2).room]).toEqual(["refused", "live", "todos/b"]);
});

test("SPEC 13.1: a token is asked for each time, and goes with the URL and the join", async () => {
  const tokens = ["one", "two", "three", "four"];
  await hold(open({ token: async () => tokens.shift() ?? null }), "a");
  expect(nth(0).address).toMatch("?token=one");
  nth(0).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  expect(nth(0).sent.at(-1)).toMatchObject({ type: "join", token: "two" });
  nth(0).lose(1006);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(nth(1).address).toMatch("?token=three");
});

test("SPEC 8.27: what a token's function throws is a failure like another: it is tried again", async () => {
  let fails = true;
  const [a] = await hold(
    open({
      token: async () => {
        if (fails) throw new Error("no network");
        return "t";
      },
    }),
    "a",
  );
  expect([sockets.length, a?.status.connection]).toEqual([0, "offline"]);
  fails = false;
  await vi.advanceTimersByTimeAsync(6_000);
  fails = true;
  nth(0).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  expect([nth(0).joins(), a?.status.connection]).toEqual([[], "offline"]);
  fails = false;
  await vi.advanceTimersByTimeAsync(6_000);
  nth(1).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  expect(nth(1).joins()).toEqual(["todos/a"]);
});

/** A function that gives tokens, and how often it was asked. */
function tokens(...given: (string | null)[]) {
  const asked = { count: 0, token: async () => given[Math.min(asked.count++, given.length - 1)] ?? null };
  return asked;
}

const UNAUTHORIZED = { code: "not_allowed", reason: "4401", text: "Sign in again.", fault: "client", retry: "never" };

test("SPEC 9.8: the token is asked for again before the admission ends, and sent if it is another one", async () => {
  const asked = tokens("one", "one", "two", "two");
  const [a] = await hold(open({ token: asked.token }), "a");
  nth(0).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  nth(0).joined("todos/a");
  for (const sent of [[{ type: "token", room: "todos/a", token: "two" }], []]) {
    nth(0).sent = [];
    nth(0).say({ type: "expires", room: "todos/a", after_ms: 60_000 });
    await vi.advanceTimersByTimeAsync(0);
    expect(nth(0).sent).toEqual(sent);
  }
  expect([asked.count, a?.status.connection]).toEqual([4, "live"]);
});

test("SPEC 9.8: what the token's function throws then is tried again", async () => {
  let count = 0;
  const token = async () => {
    count += 1;
    if (count === 3) throw new Error("no network");
    return `${count}`;
  };
  await hold(open({ token }), "a");
  nth(0).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  nth(0).joined("todos/a");
  nth(0).say({ type: "expires", room: "todos/a", after_ms: 60_000 });
  await vi.advanceTimersByTimeAsync(6_000);
  expect(nth(0).sent.at(-1)).toEqual({ type: "token", room: "todos/a", token: "4" });
});

test("SPEC 9.8: a room that is left for its token is entered again with another one, on the same socket, not with that and not in a loop", async () => {
  vi.spyOn(Math, "random").mockReturnValue(1);
  const asked = tokens("url", "a", "b", "b", "b", "c");
  const [, b] = await hold(open({ token: asked.token }), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  for (const room of ["todos/a", "todos/b"]) nth(0).joined(room);
  expect(nth(0).sent.at(-1)).toMatchObject({ type: "join", room: "todos/b", token: "b" });
  nth(0).sent = [];
  nth(0).say({ type: "left", room: "todos/b", error: UNAUTHORIZED });
  expect(b?.status).toMatchObject({ connection: "offline", refusal: { text: "Sign in again." } });
  await vi.advanceTimersByTimeAsync(0);
  expect(asked.count, "at once").toBe(4);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(asked.count).toBe(4);
  await vi.advanceTimersByTimeAsync(1);
  expect([asked.count, nth(0).joins()]).toEqual([5, []]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(nth(0).sent.filter(({ type }) => type !== "ping")).toMatchObject([
    { type: "join", room: "todos/b", token: "c" },
  ]);
  nth(0).joined("todos/b");
  expect(b?.status).toMatchObject({ connection: "live", problems: [] });
  expect([b?.status.refusal, sockets.length]).toEqual([undefined, 1]);
});

test("SPEC 9.8: tokens that are all refused are asked for once a delay, up to 30 s", async () => {
  vi.spyOn(Math, "random").mockReturnValue(1);
  let count = 0;
  await hold(open({ token: async () => `${++count}` }), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(0).joined("todos/a");
  const times: number[] = [];
  for (let second = 0; second <= 100; second++) {
    if (nth(0).sent.some(({ type, room }) => type === "join" && room === "todos/b")) {
      times.push(second);
      nth(0).sent = [];
      nth(0).say({ type: "left", room: "todos/b", error: UNAUTHORIZED });
      await vi.advanceTimersByTimeAsync(0);
    }
    nth(0).say({ type: "pong" });
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(times).toEqual([0, 1, 11, 31, 61, 91]);
  expect(count, "the URL and two joins before").toBe(3 + 5);
});

test("SPEC 9.8, 13.4: a socket that is closed for its token is opened again with another one alone", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const asked = tokens("old", "old", "old", "new");
  const [a] = await hold(open({ token: asked.token }), "a");
  nth(0).lose(4401, "Sign in again.");
  expect(a?.status).toMatchObject({ connection: "offline", refusal: { text: "Sign in again." } });
  await vi.advanceTimersByTimeAsync(1);
  expect([asked.count, sockets.length], "asked at once, and that was refused").toEqual([2, 1]);
  expect(a?.status).toMatchObject({ connection: "offline", refusal: { text: "Sign in again." } });
  await vi.advanceTimersByTimeAsync(20_000);
  expect([asked.count, sockets.length]).toEqual([4, 2]);
  expect(nth(1).address).toMatch("token=new");
  nth(1).welcome(1);
  await vi.advanceTimersByTimeAsync(0);
  nth(1).joined("todos/a");
  expect(a?.status).toMatchObject({ connection: "live", problems: [] });
});

test("SPEC 9.8: who is signed out is refused, and asked for nothing more until it is told to", async () => {
  const asked = tokens("old", null, null);
  const [a] = await hold(open({ token: asked.token }), "a");
  nth(0).lose(4401, "Sign in again.");
  await vi.advanceTimersByTimeAsync(600_000);
  expect([asked.count, sockets.length]).toEqual([2, 1]);
  expect(a?.status).toMatchObject({ connection: "refused", refusal: { text: "Sign in again." } });
  a?.reconnect();
  await vi.advanceTimersByTimeAsync(0);
  expect([asked.count, sockets.length]).toEqual([3, 2]);
});

test("SPEC 9.8, 13.4: a token that is a text is not given twice", async () => {
  const [a, b] = await hold(open({ token: "old" }), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(0).say({ type: "left", room: "todos/b", error: UNAUTHORIZED });
  expect(b?.status).toMatchObject({ connection: "refused", refusal: UNAUTHORIZED });
  nth(0).lose(4401, "Sign in again.");
  await vi.advanceTimersByTimeAsync(600_000);
  expect([a?.status.connection, sockets.length]).toEqual(["refused", 1]);
});

test("SPEC 8.27: a room that ends again and again, without having been entered, is tried less and less", async () => {
  vi.spyOn(Math, "random").mockReturnValue(1);
  await hold(open(), "a", "b");
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  nth(0).joined("todos/a");
  const times: number[] = [];
  for (let second = 0; second <= 100; second++) {
    if (nth(0).sent.some(({ type, room }) => type === "join" && room === "todos/b")) {
      times.push(second);
      nth(0).sent = [];
      nth(0).left("todos/b", "busy", "later");
    }
    nth(0).say({ type: "pong" });
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(times).toEqual([0, 5, 15, 35, 65, 95]);
});

test("SPEC 8.27: delays are random within what the close code says, and grow with failures, to 30 s", () => {
  const range = (code: number, failures: number) => [delay(code, failures, 0), delay(code, failures, 1)];
  expect(range(1012, 0)).toEqual([0, 5_000]);
  expect(range(1013, 0)).toEqual([5_000, 30_000]);
  expect(range(1006, 1)).toEqual([0, 10_000]);
  expect(range(3000, 0), "the app's").toEqual([0, 5_000]);
  expect(range(1006, 50)).toEqual([0, 30_000]);
  expect([1000, 1008, 4400, 4410, 4499].every(isFinal)).toBe(true);
  expect([1001, 1006, 1012, 4000, 4500].some(isFinal)).toBe(false);
});

test("SPEC 8.27: a server that is down is tried again and again, less and less", async () => {
  vi.spyOn(Math, "random").mockReturnValue(1);
  await hold(open(), "a");
  const times: number[] = [];
  for (let second = 0; second < 200; second++) {
    const last = sockets.at(-1);
    if (last?.readyState === 0) {
      times.push(second);
      last.lose(1006);
    }
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(times).toEqual([0, 5, 15, 35, 65, 95, 125, 155, 185]);
});

test("SPEC 8.26: a server that does not answer a greeting is left", async () => {
  await hold(open(), "a");
  nth(0).readyState = 1;
  nth(0).emit("open");
  await vi.advanceTimersByTimeAsync(15_000);
  expect(sockets.length).toBe(2);
  expect(nth(0).readyState).toBe(3);
});

test("a socket that neither opens nor fails is given up", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  await hold(open(), "a");
  await vi.advanceTimersByTimeAsync(15_001);
  expect(sockets.length).toBe(2);
});

test("a room that is left gives its socket back, if no other is on it", async () => {
  const connection = open();
  const [a, b] = ["a", "b"].map((name) => connection.room("todos", name));
  const stop = [a?.hold(), b?.hold()];
  await vi.advanceTimersByTimeAsync(0);
  nth(0).welcome(32);
  await vi.advanceTimersByTimeAsync(0);
  stop[0]?.();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(nth(0).sent.at(-1)).toEqual({ type: "leave", room: "todos/a" });
  expect([connection.sockets, nth(0).readyState]).toEqual([1, 1]);
  stop[1]?.();
  await vi.advanceTimersByTimeAsync(10_000);
  expect([connection.sockets, nth(0).readyState]).toEqual([0, 3]);
});

test("SPEC 9.7: a room with something pending is held, though nobody looks", async () => {
  const [a] = [open().room("todos", "a")];
  const stop = a?.hold();
  void a?.send("todos", { type: "x" });
  stop?.();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(sockets.length).toBeGreaterThan(0);
  expect(a?.status.connection).not.toBe("idle");
});

test("a room whose socket the app has closed for good is left, though something is pending: another may lead", async () => {
  const socket = new FakeSocket("todos/over");
  const room = roomOf(socket);
  const stop = room.hold();
  await vi.advanceTimersByTimeAsync(0);
  await socket.open();
  socket.emit("close", { code: 1006 });
  void room.send("todos", { type: "x" });
  stop();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(room.status).toMatchObject({ connection: "offline", pending: 1 });
  // Without an event, as partysocket's `close` while it is not connected.
  socket.close();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(room.status).toMatchObject({ connection: "idle", pending: 1 });
});

test("SPEC 9.9: offline, open_actions are taken, and one more is refused at once and not shown", async () => {
  const room = open().room("todos", "a");
  const todos = room.channel<Todo, Action>("todos", { reducer: predict });
  for (let i = 0; i < OPEN_ACTIONS; i++) void todos.send(create(`${i}`));
  expect([room.status.pending, room.status.problems]).toEqual([OPEN_ACTIONS, []]);
  const sent = todos.send(create("one more"));
  expect(await sent).toMatchObject({ status: "rejected", error: { code: "busy", retry: "later" } });
  expect(await sent.accepted).toMatchObject({ status: "rejected" });
  expect([room.status.pending, todos.rows.length, todos.row("one more")]).toEqual([1_000, 1_000, undefined]);
  expect(room.status.problems).toMatchObject([{ status: "rejected", error: { code: "busy" } }]);
});

test("P6: a burst is shown in few steps if each takes long, and none of them shows less than what was sent", async () => {
  vi.useRealTimers();
  const socket = new FakeSocket("todos/burst");
  const room = roomOf(socket);
  let runs = 0;
  const reducer = (rows: Todo[], action: Action) => {
    runs += 1;
    for (const end = performance.now() + 5; performance.now() < end; );
    return predict(rows, action);
  };
  const todos = room.channel<Todo, Action>("todos", { reducer });
  const seen: string[] = [];
  const texts = () => todos.rows.map(([, text]) => text).join();
  const stop = todos.subscribe(() => seen.push(texts()));
  await socket.open();
  for (const id of ["a", "b", "c"]) void todos.send(create(id));
  expect(texts(), "what the user does is shown at once").toBe("a,b,c");
  for (let i = 0; i < 100; i++) socket.patch(i + 1, [row("others", `${i}`, 1)]);
  void todos.send(create("d"));
  expect(texts()).toMatch(/a,b,c,d$/);
  for (const [i, id] of ["a", "b", "c", "d"].entries()) {
    socket.ack(i + 1, i + 102);
    socket.patch(i + 101, [row(id)]);
  }
  void todos.send(create("e"));
  expect(texts(), "what is settled and not shown yet is still there").toMatch(/a,b,c,d,e$/);
  socket.ack(5, 106);
  socket.patch(105, [row("e")]);
  await vi.waitFor(() => expect(room.status.pending).toBe(0), 5_000);
  await vi.waitFor(() => expect(texts()).toBe("99,a,b,c,d,e"), 5_000);
  const order = seen.map((list) => list.replace(/^\d+,/, ""));
  expect([...new Set(order)]).toEqual(["a", "a,b", "a,b,c", "a,b,c,d", "a,b,c,d,e"]);
  expect(runs).toBeLessThan(60);
  stop();
});
