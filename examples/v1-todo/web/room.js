// One room as this page knows it: the connection, the rows the server has confirmed, and the
// actions that still wait for its answer. No DOM in here: app.js draws what `todos()` returns.

import { PartySocket } from "partysocket";

const PARTY = "todos";
const CHANNEL = "todos";
const ANSWER_TIMEOUT_MS = 10_000;

export class Room {
  /** "connecting", then "live" and "reconnecting" by turns. Live means: the sync was answered. */
  status = "connecting";

  /** Confirmed rows by id, as they came; deleted ones are not kept. */
  #rows = new Map();
  /** Unanswered actions by rpc id, in the order they were made. */
  #pending = new Map();
  /** The largest time held, or null: what a reconnect asks to be told from. */
  #from = null;
  #socket;
  #onChange;
  #onTrouble;

  /**
   * `onChange()` is called after anything that may change what is drawn; `onTrouble(reason, action)`
   * when an action was undone, or without an action for trouble that belongs to none.
   */
  constructor({ host, secure, room, onChange, onTrouble }) {
    this.#onChange = onChange;
    this.#onTrouble = onTrouble;
    this.#socket = new PartySocket({
      host,
      party: PARTY,
      // The path segment as it stands is the room's identity, and partysocket does not encode it.
      room: encodeURIComponent(room),
      // Left to itself partysocket guesses wss for every host but a few local ones.
      protocol: secure ? "wss" : "ws",
      // Spread out, so that a restarted server does not meet all its pages in one instant.
      minReconnectionDelay: 500 + Math.random() * 1000,
      maxReconnectionDelay: 5000,
    });
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("close", () => this.#closed());
    this.#socket.addEventListener("message", (event) => this.#received(event.data));
  }

  /** What to draw, oldest first: the confirmed rows with the pending actions replayed on top. */
  todos() {
    const todos = new Map();
    const oldestFirst = [...this.#rows.values()].sort((a, b) => a[3] - b[3]);
    for (const [id, text, completed] of oldestFirst) {
      todos.set(id, { id, text, completed, pending: false, leaving: false });
    }
    for (const { action } of this.#pending.values()) predict(todos, action);
    return [...todos.values()];
  }

  create(text) {
    this.#run({ type: "create", payload: { id: randomId(), text, completed: 0 } });
  }

  update({ id, text, completed }) {
    this.#run({ type: "update", payload: { id, text, completed } });
  }

  delete({ id }) {
    this.#run({ type: "delete", payload: { id } });
  }

  /** A fresh socket now, for when this one may be dead without having noticed. */
  refresh() {
    if (this.#isOpen) this.#socket.reconnect();
  }

  get #isOpen() {
    return this.#socket.readyState === PartySocket.OPEN;
  }

  #opened() {
    this.#send({ channel: CHANNEL, sync: true, from: this.#from });
    // What was on its way when the last socket broke goes out again under its old id, by which the
    // server knows it if it had arrived.
    for (const [id, pending] of this.#pending) this.#sendAction(id, pending);
  }

  #closed() {
    if (this.status === "live") this.#changeStatus("reconnecting");
  }

  #run(action) {
    const id = randomChars(8);
    const timer = setTimeout(() => this.#giveUp(id), ANSWER_TIMEOUT_MS);
    const pending = { action, timer, sent: false };
    this.#pending.set(id, pending);
    // Never into partysocket's own queue: that would deliver it even after we had given it up.
    if (this.#isOpen) this.#sendAction(id, pending);
    this.#onChange();
  }

  #sendAction(id, pending) {
    pending.sent = true;
    this.#send({ id, channel: CHANNEL, rpc: true, action: pending.action });
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #giveUp(id) {
    const { sent } = this.#pending.get(id);
    this.#undo(
      id,
      sent
        ? "the server did not answer within 10 seconds. If it heard, the change will still appear."
        : "there was no connection for 10 seconds. Nothing was sent.",
    );
    // A socket that brings no answers may be dead; and the sync on a new one tells what happened.
    if (sent) this.refresh();
  }

  #received(text) {
    const frame = parse(text);
    if (frame === null) return console.warn("not understood:", text);
    if (frame.type === "exception") return this.#onTrouble(frame.exception.join("\n"));
    if (frame.channel !== CHANNEL) return;
    if (frame.rpc) this.#answered(frame);
    else if (frame.sync) this.#synced(frame.payload);
    else if (frame.type === "update") this.#absorb(frame.payload);
    else if (frame.type === "delete-all") this.#rows.clear();
    this.#onChange();
  }

  #answered(frame) {
    if (frame.type === "error") return this.#undo(frame.id, frame.error.join("\n"));
    // In one step, so that nothing flickers. An answer after we gave up is still the truth.
    this.#absorb(frame.result);
    this.#forget(frame.id);
  }

  #synced(rows) {
    this.#changeStatus("live");
    this.#absorb(rows);
  }

  /** Rows from wherever: a sync, a broadcast and an action's result all mean the same here. */
  #absorb(rows) {
    for (const row of rows) {
      const [id, , , , updatedAt, deletedAt] = row;
      if (deletedAt === null) this.#rows.set(id, row);
      else this.#rows.delete(id);
      // An action's answer may overtake the sync's. Were it counted, and the socket broke between
      // the two, the next sync would start after what this one was to bring.
      if (this.status === "live") this.#from = Math.max(this.#from, updatedAt, deletedAt);
    }
  }

  #undo(id, reason) {
    const pending = this.#forget(id);
    if (pending === undefined) return; // Given up before, and said so then.
    this.#onTrouble(reason, pending.action);
    this.#onChange();
  }

  #forget(id) {
    const pending = this.#pending.get(id);
    clearTimeout(pending?.timer);
    this.#pending.delete(id);
    return pending;
  }

  #changeStatus(status) {
    this.status = status;
    this.#onChange();
  }
}

function predict(todos, { type, payload }) {
  const known = todos.get(payload.id);
  if (type === "create") todos.set(payload.id, { leaving: false, ...known, ...payload, pending: true });
  else if (known === undefined) return; // Deleted by somebody else meanwhile: the server will say so.
  else if (type === "update") todos.set(payload.id, { ...known, ...payload, pending: true });
  else todos.set(payload.id, { ...known, pending: true, leaving: true });
}

function parse(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame === "object" ? frame : null;
  } catch {
    return null;
  }
}

function randomId() {
  // randomUUID needs a secure context, and a page served over plain http to a phone is none.
  if (crypto.randomUUID) return crypto.randomUUID();
  return randomChars(32);
}

function randomChars(length) {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567"; // 32 of them, so that no letter is favoured
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => alphabet[byte % alphabet.length]).join("");
}
