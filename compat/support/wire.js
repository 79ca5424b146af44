// A socket that notes what it hears, and what a scenario is told by it: what both homes must say alike, but for ids, times and stamps.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";

import WebSocket from "ws";

const PATIENCE_MS = 30_000;

/** How long a server may take to end the connection behind its close. workerd does so 10 s later, when the object leaves memory, if nothing came on the socket before. */
const CLOSE_MS = 1_000;

export class Wire {
  /** What was heard, in order: texts as they came, JSON parsed; at last `{ closed }` or `{ refused }`. */
  heard = [];
  #looked = 0;
  #news = new EventEmitter();

  constructor(server, room, { query = "", protocols = [], ...more } = {}) {
    const url = `ws://${server.host}/parties/${room}${query && `?${query}`}`;
    this.room = room.split("/").slice(0, 2).join("/");
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false, closeTimeout: CLOSE_MS, ...more });
    this.socket.on("message", (data, binary) => this.#hear(binary ? { binary: [...data] } : parsed(String(data))));
    this.socket.on("unexpected-response", (request, response) => {
      this.#hear({ refused: response.statusCode });
      response.destroy();
      request.destroy();
      // `ws` leaves it to who listens for this to say that nothing was opened.
      this.socket.emit("error", new Error(`the handshake was refused: ${response.statusCode}`));
    });
    this.socket.on("close", (code, reason) => {
      if (this.heard.at(-1)?.refused === undefined) this.#hear({ closed: code, reason: String(reason) });
    });
    this.socket.on("error", () => {});
  }

  static async open(...args) {
    const wire = new Wire(...args);
    await once(wire.socket, "open");
    return wire;
  }

  /** A socket that has joined its room in version 2. */
  static async join(server, room, client, { cursor = null, born = null, token, ...more } = {}) {
    const wire = await Wire.open(server, room, more);
    wire.send({ type: "hello", versions: [2] });
    await wire.until((frame) => frame.type === "welcome");
    wire.send({ type: "join", room: wire.room, client, cursor, born, token });
    await wire.until((frame) => frame.type === "joined");
    return wire;
  }

  send(frame) {
    this.socket.send(typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }

  /** A version 2 action. */
  act(number, ...verbs) {
    this.send({ type: "action", room: this.room, number, channel: "lines", action: verbs });
  }

  /** A version 1 call. */
  call(id, ...verbs) {
    this.send({ id, channel: "lines", rpc: true, action: verbs });
  }

  /** Waits for a frame that fits, behind those that were waited for before, and returns it. */
  async until(fits, patience = PATIENCE_MS) {
    const patient = AbortSignal.timeout(patience);
    for (;;) {
      const index = this.heard.findIndex((frame, at) => at >= this.#looked && fits(frame));
      if (index >= 0) {
        this.#looked = index + 1;
        return this.heard[index];
      }
      if (patient.aborted) assert.fail(`not heard: ${fits}; heard: ${JSON.stringify(this.heard).slice(0, 4000)}`);
      await once(this.#news, "news", { signal: patient }).catch(() => {});
    }
  }

  /** The cursor that the last frame with one led to. */
  get cursor() {
    const of = ({ type, version, to, stamp }) =>
      type === "joined" ? { version, stamp } : type === "patch" ? { version: to, stamp } : undefined;
    return this.heard.map(of).findLast((cursor) => cursor !== undefined);
  }

  cut() {
    this.socket.terminate();
  }

  #hear(frame) {
    this.heard.push(frame);
    this.#news.emit("news");
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Without what no two runs have alike: stamps, times, ids of the engine's making; and without what a welcome says of a home: how many rooms a socket
 * carries (SPEC 11), and how often to say what one has (8.25). */
export function plain(value) {
  if (Array.isArray(value)) {
    const items = value.map(plain);
    // Rows have no order, and those with ids of the engine's making have another one each time.
    return items.every(isRow) ? items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : items;
  }
  if (typeof value === "number" && value > 1e12) return "time";
  if (typeof value === "string") return /^[0-9a-f]{32}$/.test(value) ? "id" : value;
  if (value === null || typeof value !== "object") return value;
  const { rooms: _rooms, have_patches: _patches, have_ms: _ms, ...rest } = value;
  return Object.fromEntries(Object.entries(rest).map(([key, of]) => [key, key === "stamp" ? "stamp" : plain(of)]));
}

function isRow(item) {
  return Array.isArray(item) && item.every((column) => column === null || typeof column !== "object");
}
