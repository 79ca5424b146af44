// Rooms against a real server.

import { PartySocket } from "partysocket";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";

import { connect, type Room, roomOf, type SocketLike } from "../src/index.js";
import { Server } from "./support/server.js";
import {
  type Action,
  create,
  predict,
  predictObjects,
  type Todo,
  type TodoObject,
  until,
  update,
} from "./support/todos.js";

let server: Server;
const after: (() => void)[] = [];

beforeAll(async () => {
  server = await Server.start();
});
afterEach(() => {
  for (const end of after.splice(0)) end();
});
afterAll(() => server.end());

/** Somebody in a room, who holds it until the test ends. */
function enter(name: string, room: Room = connect(server.host, { WebSocket }).room("todos", name)) {
  const todos = room.channel<Todo, Action>("todos", { reducer: predict });
  after.push(todos.subscribe(() => {}));
  const texts = () => todos.rows.map(([, text]) => text);
  const shows = (...wanted: string[]) => until(texts, (found) => found.join() === wanted.join());
  return {
    room,
    todos,
    shows,
    texts,
    live: () =>
      until(
        () => room.status.connection,
        (c) => c === "live",
      ),
  };
}

/** A socket of partysocket's, for the one room of its URL. */
function partySocket(name: string): PartySocket {
  const socket = new PartySocket({
    host: server.host,
    party: "todos",
    room: name,
    WebSocket,
    minReconnectionDelay: 50,
  });
  after.push(() => socket.close());
  return socket;
}

test("an action is shown at once, and everybody has it in the end", async () => {
  const [ann, bob] = [enter("at once"), enter("at once")];
  const sent = ann.todos.send(create("a", "Milk"));
  expect([ann.texts(), ann.room.status.pending], "before there is a connection").toEqual([["Milk"], 1]);
  expect(await sent.accepted).toMatchObject({ status: expect.stringMatching(/accepted|synced/) });
  expect(await sent).toEqual({ status: "synced", version: 1 });
  expect([ann.texts(), ann.room.status.pending]).toEqual([["Milk"], 0]);
  await bob.shows("Milk");
});

test("SPEC 9.2: a rejection rolls back and says why, in a text for the user", async () => {
  const ann = enter("rejection");
  await ann.live();
  const sent = ann.todos.send(create("a", " "));
  expect(ann.texts()).toEqual([" "]);
  const error = { code: "rejected", reason: "empty", text: "Write something first.", fault: "client", retry: "never" };
  expect(await sent).toEqual({ status: "rejected", error });
  expect(ann.texts()).toEqual([]);
  const about = { error, status: "rejected", action: create("a", " "), channel: "todos" };
  expect(ann.room.status.problems).toMatchObject([about]);
  ann.room.dismiss();
  expect(ann.room.status.problems).toEqual([]);
});

test("P6: no list that is told of shows less than what was sent", async () => {
  const ann = enter("no flicker");
  const seen: string[] = [];
  after.push(ann.todos.subscribe(() => seen.push(ann.texts().join())));
  await ann.live();
  for (const id of ["a", "b", "c"]) void ann.todos.send(create(id));
  await until(
    () => ann.room.status.pending,
    (n) => n === 0,
  );
  expect([...new Set(seen)]).toEqual(["a", "a,b", "a,b,c"]);
});

test("a change to one row tells its listeners alone, and leaves the others' objects as they are", async () => {
  const [ann, bob] = [enter("one row"), enter("one row")];
  await Promise.all(["a", "b"].map((id) => ann.todos.send(create(id))));
  await bob.shows("a", "b");
  const told: string[] = [];
  for (const id of ["a", "b", "c"]) after.push(bob.todos.subscribeRow(id, () => told.push(id)));
  const [first, before] = [bob.todos.row("a"), bob.todos.rows];
  await ann.todos.send(update("b", "changed"));
  await bob.shows("a", "changed");
  expect(told).toEqual(["b"]);
  expect(bob.todos.row("a")).toBe(first);
  expect(bob.todos.rows).not.toBe(before);
  expect(bob.todos.rows).toBe(bob.todos.rows);
  await ann.todos.send(create("c"));
  await bob.shows("a", "changed", "c");
  expect(told).toEqual(["b", "c"]);
});

test("rows come as objects, if that is asked for", async () => {
  const ann = enter("objects");
  const todos = ann.room.channel<TodoObject, Action>("todos", { reducer: predictObjects, rows: "objects" });
  expect(ann.room.channel("todos", { reducer: predictObjects, rows: "objects" })).toBe(todos);
  after.push(todos.subscribe(() => {}));
  void todos.send(create("a", "Milk"));
  expect(todos.rows).toEqual([{ id: "a", text: "Milk", completed: 0 }]);
  await until(
    () => ann.room.status.pending,
    (n) => n === 0,
  );
  expect(todos.rows).toMatchObject([{ id: "a", text: "Milk", completed: 0, deleted_at: null }]);
  expect(todos.row("a")).toBe(todos.rows[0]);
});

test("SPEC 9.4: what was asked for while the server was gone goes out once it is back, once", async () => {
  const ann = enter("away");
  await ann.todos.send(create("a"));
  await server.kill();
  await until(
    () => ann.room.status.connection,
    (c) => c === "offline",
  );
  const sent = [ann.todos.send(create("b")), ann.todos.send(update("a", "changed"))];
  expect(ann.texts()).toEqual(["changed", "b"]);
  await server.restart();
  ann.room.reconnect();
  expect(await Promise.all(sent)).toMatchObject([{ status: "synced" }, { status: "synced" }]);
  await enter("away").shows("changed", "b");
});

test("SPEC 8.2: a stock partysocket is a room's socket, and opens again by itself", async () => {
  const socket = partySocket("party");
  const ann = enter("party", roomOf(socket));
  expect(ann.room.name).toBe("todos/party");
  void ann.todos.send(create("a"));
  await until(
    () => ann.room.status.pending,
    (n) => n === 0,
  );
  socket.reconnect();
  await until(
    () => ann.room.status.connection,
    (c) => c !== "live",
  );
  expect(await ann.todos.send(create("b"))).toMatchObject({ status: "synced" });
  await enter("party").shows("a", "b");
  expect(roomOf(socket)).toBe(ann.room);
});

test("a room's name is the URL's, percent-encoded", async () => {
  const ann = enter("a b/ü", roomOf(partySocket(encodeURIComponent("a b/ü"))));
  expect(ann.room.name).toBe("todos/a%20b%2F%C3%BC");
  await ann.todos.send(create("a"));
  await enter("a b/ü").shows("a");
});

test("SPEC 8.17, 8.28: a room that nobody looks at is left, and entered again when somebody does", async () => {
  const socket = partySocket("left");
  const room = roomOf(socket);
  const todos = room.channel<Todo, Action>("todos", { reducer: predict });
  const frames: string[] = [];
  socket.addEventListener("message", ({ data }) => frames.push(JSON.parse(data).type));
  const stop = todos.subscribe(() => {});
  await todos.send(create("a"));
  stop();
  await until(
    () => room.status.connection,
    (c) => c === "idle",
  );
  await until(
    () => frames,
    (f) => f.includes("left"),
  );
  const other = enter("left");
  await other.todos.send(create("b"));
  after.push(todos.subscribe(() => {}));
  await until(
    () => todos.rows.length,
    (n) => n === 2,
  );
  expect(room.status.connection).toBe("live");
});

test("SPEC 8.32: rooms of one connection take as few sockets as the server allows", async () => {
  const connection = connect(server.host, { WebSocket });
  const rooms = ["x", "y", "z"].map((name) => enter(name, connection.room("todos", name)));
  await Promise.all(rooms.map(({ todos }, i) => todos.send(create(String(i)))));
  expect(rooms.map((room) => room.texts())).toEqual([["0"], ["1"], ["2"]]);
  expect(connection.room("todos", "x")).toBe(rooms[0]?.room);
  expect(connection.sockets).toBe(1);
});

test("SPEC 8.32, 8.33: a further room that is not to be had is refused, and the others go on", async () => {
  const connection = connect(server.host, { WebSocket });
  const first = enter("others go on", connection.room("todos", "others go on"));
  await first.live();
  const nowhere = connection.room("nowhere", "x");
  after.push(nowhere.hold());
  await until(
    () => nowhere.status.connection,
    (c) => c === "refused",
  );
  expect(nowhere.status.refusal).toMatchObject({ code: "not_allowed", retry: "never" });
  expect(await first.todos.send(create("a"))).toMatchObject({ status: "synced" });
  expect(connection.sockets).toBe(1);
});

test("SPEC 8.27: a party that is not there is no room to wait for", async () => {
  const room = connect(server.host, { WebSocket }).room("nowhere", "x");
  after.push(room.subscribe(() => {}));
  // The handshake fails with a status that a browser would not show; so it is tried again, as any other failure.
  await until(
    () => room.status.connection,
    (c) => c === "offline",
  );
});

test("a socket whose URL is no room's is said to be none", () => {
  const socket = { readyState: 0, url: "ws://127.0.0.1/" } as unknown as SocketLike;
  expect(() => roomOf(socket)).toThrow("no room's");
});
