// A socket whose server is the test.

import type { SocketLike } from "../../src/index.js";
import type { Json } from "../../src/protocol.js";

type Handler = (event: { data?: string; code?: number; reason?: string }) => void;

export const NOW = 1_700_000_000_000;

export class FakeSocket implements SocketLike {
  readonly url: string;
  readonly room: string;
  readyState = 0;
  sent: Record<string, Json>[] = [];
  #handlers = new Map<string, Set<Handler>>();

  constructor(room = "todos/test") {
    this.room = room;
    this.url = `ws://server/parties/${room}?_pk=1`;
  }

  get listeners(): number {
    return [...this.#handlers.values()].reduce((n, handlers) => n + handlers.size, 0);
  }

  send(data: string): void {
    if (this.readyState !== 1) throw new Error("sent while it is not open");
    this.sent.push(JSON.parse(data));
  }

  close(): void {
    this.readyState = 3;
  }

  addEventListener(type: string, handler: Handler): void {
    this.#handlers.set(type, (this.#handlers.get(type) ?? new Set()).add(handler));
  }

  removeEventListener(type: string, handler: Handler): void {
    this.#handlers.get(type)?.delete(handler);
  }

  emit(type: string, event: Parameters<Handler>[0] = {}): void {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) handler(event);
  }

  say(frame: Json): void {
    this.emit("message", { data: JSON.stringify(frame) });
  }

  /** Opens, and takes the client in: at version 1, with these rows. */
  async open(rows: Json[] = []): Promise<void> {
    this.readyState = 1;
    this.emit("open");
    this.say({ type: "welcome", version: 2, rooms: 1, ping_ms: 25_000, frame_bytes: 1 << 20 });
    await Promise.resolve();
    await Promise.resolve();
    const channels = { todos: ["id", "text", "completed", "created_at", "updated_at", "deleted_at"] };
    this.say({ type: "joined", room: this.room, version: 1, stamp: 1, last: 0, known: true, reset: true, channels });
    this.say({ type: "snapshot", room: this.room, channel: "todos", rows, more: false });
  }

  patch(from: number, puts: Json[], deletes: Json[] = []): void {
    const changes = [{ channel: "todos", puts, deletes }];
    this.say({ type: "patch", room: this.room, from, to: from + 1, stamp: from + 1, changes });
  }

  ack(number: number, version: number): void {
    this.say({ type: "ack", room: this.room, number, version });
  }

  types(): Json[] {
    return this.sent.map(({ type }) => type ?? null);
  }
}

export function row(id: string, text = id, at = NOW): Json {
  return [id, text, 0, at, at, null];
}
