// Clients without a page: for what somebody else does, and to ask what is in a room.

import { on, once } from "node:events";

import { WebSocket } from "ws";

/** A client of version 1 without a page: for what somebody else does, and to ask for the room's rows. */
export class RawClient {
  #socket;
  #calls = 0;
  #waiting = [];

  static async to({ url }, room = "home") {
    const client = new RawClient();
    client.#socket = new WebSocket(`${url.replace("http", "ws")}/parties/todos/${room}?_pk=raw-${Math.random()}`);
    client.#socket.on("message", (text) => client.#received(JSON.parse(text)));
    await once(client.#socket, "open");
    return client;
  }

  /** The room's live rows by id: [id, text, completed]. */
  async rows() {
    const { payload } = await this.#ask({ channel: "todos", sync: true, from: null }, (frame) => frame.sync);
    return payload.map((row) => row.slice(0, 3)).sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Runs an action and tells its answer, be it an error. */
  run(action) {
    const id = `raw${this.#calls++}`;
    return this.#ask({ id, channel: "todos", rpc: true, action }, (frame) => frame.id === id);
  }

  create(id, text) {
    return this.run({ type: "create", payload: { id, text, completed: 0 } });
  }

  delete(id) {
    return this.run({ type: "delete", payload: { id } });
  }

  close() {
    this.#socket.terminate();
  }

  #ask(frame, isAnswer) {
    const answer = new Promise((resolve) => this.#waiting.push({ isAnswer, resolve }));
    this.#socket.send(JSON.stringify(frame));
    return answer;
  }

  #received(frame) {
    const index = this.#waiting.findIndex(({ isAnswer }) => isAnswer(frame));
    if (index !== -1) this.#waiting.splice(index, 1)[0].resolve(frame);
  }
}

/** The version that a room is at: how many actions have changed something in it. */
export async function versionOf({ url }, room = "home") {
  const name = `todos/${encodeURIComponent(room)}`;
  const socket = new WebSocket(`${url.replace("http", "ws")}/parties/${name}`, "partysync.v2");
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "hello", versions: [2] }));
  const client = Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16)).join("");
  socket.send(JSON.stringify({ type: "join", room: name, client, cursor: null, born: null }));
  for await (const [text] of on(socket, "message")) {
    const frame = JSON.parse(text);
    if (frame.type !== "joined") continue;
    socket.terminate();
    return frame.newest ?? frame.version;
  }
}
