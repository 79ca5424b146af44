// A client of version 1 that does what it is told, and notes what it hears.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";

import WebSocket from "ws";

import { Screen } from "./screen.js";

/** What has not come by then does not come. Far more than anything takes, since machines may be busy. */
const PATIENCE_MS = 30_000;

let serial = 0;

/** A name that nothing else has: a room's, a todo's, a call's. */
export function fresh(what) {
  serial += 1;
  return `${what}-${process.pid}-${serial}`;
}

export class Client {
  /** The `ws` socket, for what only few tests do with it. */
  socket;
  /** All text frames as they came. */
  texts = [];
  /** What an unmodified client would show by now. */
  screen = new Screen();
  #frames = [];
  // A test may wait for many answers at once.
  #news = new EventEmitter().setMaxListeners(0);
  /** How the socket was closed; `status` if the handshake was refused. */
  #end = null;

  /** Connects to a room: `query` such as `_pk=me`, `more` is for the WebSocket. */
  static async open(server, room, query = "", more = {}) {
    const client = Client.start(server, room, query, more);
    await client.#until("the handshake's answer", () => client.socket.readyState === WebSocket.OPEN || undefined);
    return client;
  }

  /** Connects, and waits for nothing. */
  static start(server, room, query = "", more = {}) {
    const client = new Client();
    const url = `ws://${server.host}/parties/todos/${room}${query && `?${query}`}`;
    // Offered by browsers, and so by the test that is about it.
    const socket = new WebSocket(url, { perMessageDeflate: false, ...more });
    const news = () => client.#news.emit("news");
    socket.on("open", news);
    socket.on("message", (data) => {
      client.#hear(String(data), server);
      news();
    });
    socket.on("unexpected-response", (_, response) => {
      client.#end = { status: response.statusCode };
      response.destroy();
      news();
    });
    socket.on("close", (code, reason) => {
      client.#end ??= { code, reason: String(reason) };
      news();
    });
    // Followed by a close.
    socket.on("error", () => {});
    client.socket = socket;
    return client;
  }

  /** Sends a text as it is, or anything else as JSON. */
  send(message) {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** Sends an action, and does not wait for its answer. Returns the call's id. */
  call(type, payload, { id = fresh("call"), channel = "todos" } = {}) {
    this.send({ id, channel, rpc: true, action: { type, payload } });
    return id;
  }

  /** Sends an action and waits for its answer. */
  async act(type, payload, options) {
    const id = this.call(type, payload, options);
    return this.next(`an answer to ${type}`, (frame) => frame.id === id);
  }

  /** Creates a todo; returns its row. */
  async create(id, text = `text of ${id}`) {
    return this.#row(await this.act("create", { id, text, completed: 0 }));
  }

  async update(id, text) {
    return this.#row(await this.act("update", { id, text, completed: 1 }));
  }

  async delete(id) {
    return this.#row(await this.act("delete", { id }));
  }

  /** Asks for a channel and waits for the answer to it. */
  async sync(from = null) {
    this.send({ channel: "todos", sync: true, from });
    return this.next("an answer to a sync", (frame) => frame.sync === true);
  }

  /** The first frame not looked at yet that fits. Those before it are still to be looked at. */
  async next(what, fits = () => true, patience = PATIENCE_MS) {
    const look = () => {
      const index = this.#frames.findIndex(fits);
      return index < 0 ? undefined : this.#frames.splice(index, 1)[0];
    };
    return this.#until(what, look, patience);
  }

  /** All that it has heard and not looked at, up to the answer to something that changes nothing. */
  async heard() {
    const id = this.call("delete", { id: fresh("nobody") });
    const frames = [];
    for (;;) {
      const frame = await this.next("an answer to an action that changes nothing");
      if (frame.id === id) return frames;
      frames.push(frame);
    }
  }

  /** Sends a frame that has one answer, which must come before that to the next one. */
  async answer(message) {
    this.send(message);
    const answers = await this.heard();
    const what = typeof message === "string" ? message : JSON.stringify(message);
    assert.equal(answers.length, 1, `${answers.length} answers to ${what.slice(0, 200)}`);
    return answers[0];
  }

  /** Waits until the socket is closed: `{ code, reason }`, or `{ status }` if the handshake was refused. */
  async closed(patience = PATIENCE_MS) {
    await this.#until("a close", () => (this.#end !== null || undefined), patience);
    return this.#end;
  }

  /** Breaks the connection as a cut cable does: without a word. */
  cut() {
    this.socket.terminate();
  }

  #row({ type, result, error }) {
    assert.equal(type, "success", String(error));
    return result[0];
  }

  #hear(text, server) {
    this.texts.push(text);
    const frame = JSON.parse(text);
    // The original tells everybody of an action that changed nothing, such as that of `heard`.
    if (server.name === "original" && frame.broadcast && frame.payload?.length === 0) return;
    this.screen.hear(frame);
    this.#frames.push(frame);
  }

  async #until(what, look, patience = PATIENCE_MS) {
    const patient = AbortSignal.timeout(patience);
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#end !== null) assert.fail(`no ${what}: the socket ended, ${JSON.stringify(this.#end)}`);
      if (patient.aborted) assert.fail(`no ${what} within ${patience} ms`);
      await once(this.#news, "news", { signal: patient }).catch(() => {});
    }
  }
}
