// Tabs of a browser, each with a room that is kept: against a server that is the test.

import { vi } from "vitest";

import { Alone } from "../../src/alone.js";
import type { Fate } from "../../src/client.js";
import type { Audience, Connected, Shown } from "../../src/driver.js";
import { Kept } from "../../src/kept.js";
import type { Rider } from "../../src/link.js";
import type { Down, Json } from "../../src/protocol.js";
import type { Ride, Transport } from "../../src/transport.js";
import { browser, type Locks, stored, Wire } from "./browser.js";
import { joined, NOW, ROOM, snapshot } from "./script.js";
import { until } from "./todos.js";

let locks: Locks;
let tabs: Tab[] = [];

/** A browser, without tabs yet. */
export function openBrowser(): Locks {
  ({ locks } = browser());
  return locks;
}

/** Closes all tabs, and takes away what stood in for a browser. */
export async function closeBrowser(): Promise<void> {
  for (const tab of tabs) await tab.close();
  tabs = [];
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
}

/** A tab: a home, what it told, and what it sent. */
export class Tab implements Transport, Audience {
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
export const EMPTY = [joined(0, 0, true, true), snapshot([])];

/** The first frame of a kind that a tab sent, or undefined. */
export function first(tab: Tab, type: string) {
  return tab.sent.find((frame) => frame.type === type);
}

/** Keeps rooms of others, the first used least recently, with a row each; and an open action of those that are named. */
export async function keepOthers(count: number, ...withActions: string[]): Promise<void> {
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
export async function records(room: string): Promise<[clients: number, rows: number]> {
  const clients = await stored("clients", (store) => store.count(room));
  return [clients, await stored("rows", (store) => store.count(IDBKeyRange.bound([room], [room, []])))];
}
