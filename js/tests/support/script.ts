// A client at a table with a server that is a script: what it was handed, what it asked for, what the user saw.

import { Client, type Effect, type Event, type Fate, type State } from "../../src/client.js";
import type { Json } from "../../src/protocol.js";

export const NOW = 1_700_000_000_000;
export const ROOM = "counts/a";

/** What the app would predict: `add` adds to the row `total`; anything else is not for a client to foretell. */
export function predicted(client: Client): number | undefined {
  const { tables, pending } = client.save();
  const confirmed = tables.get("counts")?.row("total")?.[1] as number | undefined;
  return pending.reduce((total, { action }) => {
    const { type, payload } = (action ?? {}) as { type?: string; payload: number };
    return type === "add" ? (total ?? 0) + payload : total;
  }, confirmed);
}

export class Script {
  client: Client;
  now = NOW;
  effects: Effect[] = [];
  /** What the user saw, each time it may have changed. */
  seen: (number | undefined)[] = [];
  #acts = 0;

  constructor(client = new Client(ROOM, new Uint8Array(16).fill(1))) {
    this.client = client;
  }

  /** A client that has joined an empty room at version 0. */
  static joined(): Script {
    const script = new Script();
    script.handle({ type: "opened" });
    script.welcome();
    script.text(joined(0, 0, true, true));
    script.text(snapshot([]));
    script.effects = [];
    script.seen = [];
    return script;
  }

  static restored(state: State): Script {
    return new Script(Client.restore(ROOM, state));
  }

  handle(event: Event): void {
    const random = new Uint8Array(16).fill((this.now & 0xff) ^ 0xaa);
    const effects = this.client.handle({ now: this.now, random }, event);
    if (effects.some((e) => e.type === "changed")) this.seen.push(predicted(this.client));
    this.effects.push(...effects);
  }

  text(frame: unknown): void {
    this.handle({ type: "text", text: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  welcome(): void {
    this.text({ type: "welcome", version: 2, rooms: 1, ping_ms: 25_000, frame_bytes: 1 << 20 });
  }

  /** Another socket, up to its `join`. */
  reconnect(): void {
    this.handle({ type: "closed" });
    this.handle({ type: "opened" });
    this.welcome();
  }

  act(type: string, payload: Json = null): void {
    this.handle({ type: "act", channel: "counts", action: { type, payload }, key: `act ${++this.#acts}` });
  }

  get total(): number | undefined {
    return predicted(this.client);
  }

  get pending(): number {
    return this.client.save().pending.length;
  }

  /** The frames sent since this was last asked. */
  sent(): Record<string, Json>[] {
    const effects = this.effects;
    this.effects = [];
    return effects.flatMap((e) => (e.type === "send" ? [JSON.parse(e.frame)] : []));
  }

  /** Numbers of the actions sent since this was last asked. */
  numbers(): Json[] {
    return this.sent().flatMap((f) => (f.type === "action" ? [f.number ?? null] : []));
  }

  fates(): [number, Fate][] {
    return this.effects.flatMap((e): [number, Fate][] => (e.type === "settled" ? [[e.number, e.fate]] : []));
  }

  has(type: Effect["type"]): boolean {
    return this.effects.some((e) => e.type === type);
  }
}

export function joined(version: number, last: number, reset: boolean, known: boolean): Json {
  const channels = { counts: ["id", "value", "created_at", "updated_at", "deleted_at"] };
  return { type: "joined", room: ROOM, version, stamp: version + 100, last, known, reset, channels };
}

export function snapshot(rows: Json[]): Json {
  return { type: "snapshot", room: ROOM, channel: "counts", rows, more: false };
}

export function total(value: number): Json {
  return ["total", value, NOW, NOW, null];
}

export function patch(from: number, to: number, puts: Json[], deletes: Json[] = []): Json {
  const changes = [{ channel: "counts", puts, deletes }];
  return { type: "patch", room: ROOM, from, to, stamp: to + 100, changes };
}

export function ack(number: number, version: number): Json {
  return { type: "ack", room: ROOM, number, version };
}

export function error(code: string, retry = "never", text = code): Json {
  return { code, text, fault: "client", retry };
}
