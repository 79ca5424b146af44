// Takes a client through a dialogue of vectors/ (its README says what the steps are), and compares what it does with what it says.

import { expect } from "vitest";

import { Client, type Effect, type Event } from "../../src/client.js";
import { newId } from "../../src/ids.js";
import type { Json, Welcome } from "../../src/protocol.js";
import { Table } from "../../src/table.js";
import { type Prediction, type Reducer, View } from "../../src/view.js";

type Rows = { [channel: string]: Json[][] };

interface Shows {
  readonly step: "shows";
  readonly on: string;
  readonly confirmed?: Rows;
  readonly view?: Rows;
  readonly pending?: number[];
  readonly version?: number | null;
  readonly live?: boolean;
  readonly fates?: { number: number; fate: string; code?: string }[];
  readonly messages?: string[];
  readonly errors?: string[];
  readonly left?: string;
  readonly wants_token?: "expires" | "refused";
  readonly reconnects?: boolean;
}

type Frame = { readonly [field: string]: Json };

export type Step =
  | { readonly step: "open"; readonly on: string; readonly welcome?: Welcome; readonly token?: string }
  | { readonly step: "reload"; readonly on: string }
  | { readonly step: "token"; readonly on: string; readonly token: string | null }
  | { readonly step: "close"; readonly on: string; readonly code?: number }
  | { readonly step: "up" | "down"; readonly on: string; readonly frame: Frame; readonly lost?: boolean }
  | { readonly step: "act"; readonly on: string; readonly channel: string; readonly action: Json }
  | { readonly step: "say"; readonly on: string; readonly text: string }
  | { readonly step: "wait"; readonly ms: number }
  | { readonly step: "server"; readonly does: string; readonly on?: string; readonly days?: number }
  | Shows;

export interface Dialogue {
  readonly version: number;
  readonly name: string;
  readonly about: string;
  readonly rules: string[];
  readonly tests: string[];
  readonly needs?: string[];
  readonly room: string;
  readonly clients: { readonly [name: string]: string[] };
  /** Clients that are in another room, on the socket of another client. */
  readonly riders?: { readonly [name: string]: { readonly with: string; readonly room: string } };
  readonly steps: Step[];
}

/** The fields of each step, all of which the driver below knows. */
const FIELDS: { readonly [step: string]: string } = {
  open: "on welcome token",
  token: "on token",
  reload: "on",
  close: "on code",
  up: "on frame lost",
  down: "on frame lost",
  act: "on channel action",
  say: "on text",
  wait: "ms",
  server: "does on days",
  shows: "on confirmed view pending version live fates messages errors left wants_token reconnects",
};

const DIALOGUE = "version name about rules tests needs room clients riders steps";

/** Fails on what it does not know: it would test less than the file says. */
export function check(dialogue: Dialogue): void {
  expect(Object.keys(dialogue).filter((field) => !DIALOGUE.split(" ").includes(field))).toEqual([]);
  expect(dialogue.version).toBe(2);
  expect(dialogue.tests.filter((test) => !["client", "server"].includes(test))).toEqual([]);
  for (const step of dialogue.steps) {
    const known = FIELDS[step.step]?.split(" ");
    if (known === undefined) throw new Error(`an unknown step: ${step.step}`);
    expect(Object.keys(step).filter((field) => field !== "step" && !known.includes(field))).toEqual([]);
  }
}

export function play({ room, clients, riders, steps }: Dialogue, name: string): void {
  const player = new Player(riders?.[name]?.room ?? room, clients[name] ?? []);
  for (const [i, step] of steps.entries()) {
    if ("on" in step && step.on !== name) continue;
    try {
      player.take(step);
    } catch (error) {
      if (error instanceof Error) error.message = `step ${i + 1}, ${JSON.stringify(step)}: ${error.message}`;
      throw error;
    }
  }
  player.end();
}

class Player {
  readonly #room: string;
  readonly #ids: Uint8Array[];
  #client: Client;
  #now = 1_700_000_000_000;
  #tickAt = Number.POSITIVE_INFINITY;
  #frames: Frame[] = [];
  #told: Effect[] = [];

  constructor(room: string, ids: string[]) {
    this.#room = room;
    this.#ids = ids.map((id) => Uint8Array.from(Buffer.from(id, "hex")));
    this.#client = new Client(room, this.#ids[0] ?? new Uint8Array(16));
  }

  take(step: Step): void {
    switch (step.step) {
      case "open":
        return this.#handle(
          step.welcome === undefined ? { type: "opened" } : { type: "opened", welcome: step.welcome },
        );
      case "token":
        return this.#handle({ type: "token", token: step.token });
      case "close":
        return this.#handle({ type: "closed" });
      case "reload":
        this.#client = Client.restore(this.#room, this.#client.save());
        return;
      case "up":
        return this.#sent(step.frame);
      case "down":
        if (step.lost !== true) this.#handle({ type: "text", text: JSON.stringify(step.frame) });
        return;
      case "act":
        return this.#handle({ type: "act", channel: step.channel, action: step.action, key: "" });
      case "say":
        return this.#handle({ type: "say", text: step.text });
      case "wait":
        return this.#wait(step.ms);
      case "shows":
        return this.#shows(step);
      case "server":
        return;
    }
  }

  /** Nothing was sent that is not listed. */
  end(): void {
    expect(this.#frames.filter(isNotFree)).toEqual([]);
  }

  #handle(event: Event): void {
    // The ids that it takes come one after the other.
    const next = this.#ids.find((id) => Buffer.from(id).toString("hex") === this.#client.save().client);
    const random = this.#ids[this.#ids.indexOf(next ?? new Uint8Array()) + 1] ?? new Uint8Array(16);
    for (const effect of this.#client.handle({ now: this.#now, random }, event)) {
      if (effect.type === "send") this.#frames.push(JSON.parse(effect.frame));
      else if (effect.type === "tick_at") this.#tickAt = effect.at;
      else this.#told.push(effect);
    }
  }

  #wait(ms: number): void {
    const end = this.#now + ms;
    while (this.#tickAt <= end) {
      this.#now = Math.max(this.#now, this.#tickAt);
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.#handle({ type: "tick" });
    }
    this.#now = end;
  }

  #sent(frame: Frame): void {
    while (this.#frames[0] !== undefined && !isNotFree(this.#frames[0]) && this.#frames[0].type !== frame.type) {
      this.#frames.shift();
    }
    expect(this.#frames.shift()).toEqual(frame);
  }

  #shows(shows: Shows): void {
    const { tables, pending, cursor } = this.#client.save();
    const confirmed = (channel: string) => tables.get(channel)?.rows ?? [];
    if (shows.confirmed) expect(asSets(shows.confirmed, confirmed)).toEqual(sorted(shows.confirmed));
    if (shows.view) expect(asSets(shows.view, (channel) => this.#view(channel))).toEqual(sorted(shows.view));
    if (shows.pending) expect(pending.map((p) => p.number)).toEqual(shows.pending);
    if (shows.version !== undefined) expect(cursor?.version ?? null).toBe(shows.version);
    if (shows.live !== undefined) expect(this.#client.isLive).toBe(shows.live);
    const told = this.#told.splice(0);
    const all = <T>(look: (effect: Effect) => T | undefined) =>
      told.flatMap((effect) => {
        const found = look(effect);
        return found === undefined ? [] : [found];
      });
    expect(all(fate), "fates").toEqual(shows.fates ?? []);
    expect(
      all((e) => (e.type === "message" ? e.text : undefined)),
      "messages",
    ).toEqual(shows.messages ?? []);
    const isError = (e: Effect) => (e.type === "error" || e.type === "refused" ? e.error.code : undefined);
    expect(all(isError), "errors").toEqual(shows.errors ?? []);
    expect(all((e) => (e.type === "left" ? e.error.code : undefined))[0], "left").toBe(shows.left);
    const wanted = (e: Effect) => (e.type === "token" ? (e.refused ? "refused" : "expires") : undefined);
    expect(all(wanted), "wants_token").toEqual(shows.wants_token ? [shows.wants_token] : []);
    expect(
      told.some((e) => e.type === "reconnect"),
      "reconnects",
    ).toBe(shows.reconnects ?? false);
  }

  #view(channel: string): readonly (readonly unknown[])[] {
    const { client, tables, pending } = this.#client.save();
    const view = new View<Json[]>("tuples", (channel === "todos" ? todos : lists) as Reducer<Json[], never>);
    view.show({ client, table: tables.get(channel) ?? Table.EMPTY, pending });
    return view.rows;
  }
}

function isNotFree({ type }: Frame): boolean {
  return type !== "have" && type !== "ping";
}

function fate(effect: Effect): Record<string, unknown> | undefined {
  if (effect.type !== "settled") return undefined;
  const { number, fate } = effect;
  if (fate.status === "synced") return { number, fate: "applied" };
  return { number, fate: fate.status, code: fate.error.code };
}

/** Rows without their times, in an order of their own. */
function asSets(channels: Rows, rows: (channel: string) => readonly (readonly unknown[])[]): Rows {
  const entries = Object.keys(channels).map((channel) => [channel, rows(channel).map((row) => row.slice(0, -3))]);
  return sorted(Object.fromEntries(entries));
}

function sorted(channels: Rows): Rows {
  const byText = (a: Json[], b: Json[]) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
  return Object.fromEntries(Object.entries(channels).map(([channel, rows]) => [channel, [...rows].sort(byText)]));
}

interface Action {
  readonly type: string;
  readonly payload: { readonly id?: string; readonly title?: string; readonly name?: string };
}

const TIMES = [0, 0, null];

/** The app's prediction for `todos`. What it throws shows nothing. */
function todos(rows: Json[][], { type, payload }: Action, prediction: Prediction): Json[][] {
  const id = type === "create" ? (payload.id ?? newId(prediction)) : payload?.id;
  const old = rows.find((row) => row[0] === id);
  const changed = (row: Json[]) => rows.map((other) => (other === old ? row : other));
  if ((type === "create" || type === "rename") && payload.title === "") throw new Error("title_needed");
  switch (type) {
    case "create":
      if (old !== undefined) throw new Error("duplicate");
      return [...rows, [id ?? "", payload.title ?? "", 0, ...TIMES]];
    case "toggle":
      if (old === undefined) throw new Error("not_found");
      return changed([old[0] ?? "", old[1] ?? "", old[2] === 0 ? 1 : 0, ...TIMES]);
    case "rename":
      if (old === undefined) throw new Error("not_found");
      return changed([old[0] ?? "", payload.title ?? "", old[2] ?? 0, ...TIMES]);
    case "delete":
      return rows.filter((row) => row !== old);
    default:
      return rows;
  }
}

/** The same for `lists`, whose actions are sent to `todos` as well. */
function lists(rows: Json[][], { type, payload }: Action): Json[][] {
  if (type !== "name_list") return rows;
  const others = rows.filter(([id]) => id !== payload.id);
  return [...others, [payload.id ?? "", payload.name ?? "", ...TIMES]];
}
