// The client's logic: confirmed rows, pending actions on top, and what to say to the server so that both end up the same.
//
// A `Client` is one client of one room. It has no socket and no clock: its home hands it what happens, and carries out what it asks
// for, in order. SPEC section 9 is its text, and the Rust crate `partysync-client` its twin.

import { errorOf, isUnauthorized, type WireError } from "./error.js";
import { hex } from "./hex.js";
import {
  ACTION_BYTES,
  type Cursor,
  type Down,
  encode,
  isNestedTooDeep,
  type Joined,
  type Json,
  type Later,
  OPEN_ACTIONS,
  type Patch,
  parse,
  type Snapshot,
  type Up,
  VERSION,
  type Welcome,
} from "./protocol.js";
import { Table } from "./table.js";

/** Patches after which a client says what it has (SPEC 8.25), unless the server says how many. */
const HAVE_PATCHES = 32;

/** How long after it last said so it does it again, likewise. */
const HAVE_MS = 1_000;

/** A server that was not heard for so many ping intervals is gone (SPEC 8.26). */
const DEAD_PINGS = 3;

/** Milliseconds between pings, until the server says how many. */
const PING_MS = 25_000;

/** What the core does not have itself. */
export interface Input {
  /** Milliseconds since 1970: for pings, delays and predictions. Nothing is decided by it. */
  readonly now: number;
  /** 16 random bytes, new for each call. */
  readonly random: Uint8Array;
}

/** What happened. */
export type Event =
  /** A socket is open. With `welcome` it was greeted already, for another room. */
  | { readonly type: "opened"; readonly welcome?: Welcome }
  /** The socket is gone. */
  | { readonly type: "closed" }
  /** A text frame came. */
  | { readonly type: "text"; readonly text: string }
  /** A text frame came, and was read already; undefined: it can't be. */
  | { readonly type: "down"; readonly down: Down | undefined }
  /** The user wants something. `key` is the home's own name for it. */
  | { readonly type: "act"; readonly channel: string; readonly action: unknown; readonly key: string }
  /** The app has a text for its own code in the room (SPEC 14.7). It is not kept: without a socket in the room it is lost. */
  | { readonly type: "say"; readonly text: string }
  /** What proves to the room's door who it is, from now on; null: nothing. A home hands it in before it opens a socket, and another one whenever it likes. */
  | { readonly type: "token"; readonly token: string | null }
  /** The time that `tick_at` asked for has come, or may have. */
  | { readonly type: "tick" };

/** What the home has to do. */
export type Effect =
  /** Send a text frame on the open socket. */
  | { readonly type: "send"; readonly frame: string }
  /** Rows, or what is pending, may differ from before: show them again. */
  | { readonly type: "changed" }
  /** The room took an action; its rows are on their way. */
  | { readonly type: "accepted"; readonly number: number; readonly key: string }
  /** An action's fate is known; it is pending no more. */
  | {
      readonly type: "settled";
      readonly number: number;
      readonly key: string;
      readonly pending: Pending;
      readonly fate: Fate;
    }
  /** An action was never pending: no room would take it. */
  | { readonly type: "refused"; readonly key: string; readonly error: WireError }
  /** The app's own code in the room sent a text (SPEC 14.5). */
  | { readonly type: "message"; readonly text: string }
  /** The server said what a developer or user should see, about no action in particular. */
  | { readonly type: "error"; readonly error: WireError }
  /** Close the socket and open another one after a delay. `room`: the room alone ended; others on the socket may go on. */
  | { readonly type: "reconnect"; readonly scope: "socket" | "room" }
  /**
   * Another token is wanted: hand it in. Without `refused` the old one does until the admission by it ends, soon. With it the room is
   * left, for the token it had, and entered again when another one is there. Don't ask the app for it in a loop (SPEC 9.8).
   */
  | { readonly type: "token"; readonly refused?: WireError }
  /** The room is not to be had, for this reason: don't come back unchanged. */
  | { readonly type: "left"; readonly error: WireError }
  /** Hand in a `tick` at this time. */
  | { readonly type: "tick_at"; readonly at: number };

/** What became of an action. */
export type Fate =
  /** Its effect is in the confirmed rows, from this version on. */
  | { readonly status: "synced"; readonly version: number }
  /** It was rejected for good. */
  | { readonly status: "rejected"; readonly error: WireError }
  /** Nobody can say: the server has forgotten. Send it again only if doing it twice does no harm. */
  | { readonly status: "unknown"; readonly error: WireError };

/** An action whose fate is not known yet, or whose effect has not come yet. */
export interface Pending {
  readonly number: number;
  readonly channel: string;
  readonly action: Json;
  /** The home's own name for it. */
  readonly key: string;
  /** When it was asked for. */
  readonly at: number;
  /** Whether it was ever sent: then it may have been run. */
  readonly sent: boolean;
  /** Acked: its effect comes with this version. */
  readonly appliedAt: number | null;
  /** Not acked, but the confirmed rows show already what came of it: it is not predicted any more (SPEC 9.4). */
  readonly included?: boolean;
}

/** All that a client has to keep to go on after a reload. */
export interface State {
  /** Its secret. */
  readonly client: string;
  /** The highest number it has used. */
  readonly last: number;
  /** The highest number whose fate it knows. */
  readonly settled: number;
  /** The lowest version of a `joined` that it got under this id. */
  readonly born: number | null;
  /** What the tables are. */
  readonly cursor: Cursor | null;
  readonly tables: ReadonlyMap<string, Table>;
  /** What is not settled yet, in order. */
  readonly pending: readonly Pending[];
}

/** What is known of a socket's health. */
interface Link {
  pingMs: number;
  havePatches: number;
  haveMs: number;
  sentAt: number;
  heardAt: number;
  /** Patches since the last `have`. */
  unconfirmed: number;
}

/** How far a socket has come. */
type Session =
  | { readonly at: "closed" }
  /** `hello` was sent. */
  | { readonly at: "greeting"; readonly link: Link }
  /** `join` was sent. */
  | { readonly at: "joining"; readonly link: Link }
  /** `joined` came with a reset; parts of the snapshot are coming. */
  | {
      readonly at: "loading";
      readonly link: Link;
      readonly cursor: Cursor;
      readonly channels: Joined["channels"];
      readonly rows: Map<string, Json[]>;
    }
  /** Patches come, actions go. */
  | { readonly at: "live"; readonly link: Link }
  /** The room was left for the client's token: it waits for another one. */
  | { readonly at: "refused"; readonly link: Link };

const CLOSED: Session = { at: "closed" };

/** A client that holds nothing and has no id yet. */
export const NOBODY: State = {
  client: "",
  last: 0,
  settled: 0,
  born: null,
  cursor: null,
  tables: new Map(),
  pending: [],
};

export class Client {
  /** `party/room`. */
  readonly room: string;
  #state: State;
  /** Numbers sent on this socket of which the room has not said to try later. */
  #inFlight = new Set<number>();
  #session: Session = CLOSED;
  #token: string | null = null;
  /** What is done after a delay. `rejoin`: room and client disagree about numbers, so it joins again instead of sending again. */
  #retry: { readonly at: number; readonly rejoin: boolean } | null = null;
  /** What the room had decided when it was joined: numbers up to the one, which the rows of the other version show. */
  #decided: { readonly number: number; readonly version: number } | null = null;
  #now = 0;
  #random: Uint8Array;
  #effects: Effect[] = [];

  /** A client that holds nothing yet. `random` becomes its id: 16 bytes that nobody can guess. */
  constructor(room: string, random: Uint8Array) {
    this.room = room;
    this.#state = { ...NOBODY, client: hex(random) };
    this.#random = random;
  }

  /** A client that goes on where another one stopped. */
  static restore(room: string, state: State): Client {
    const client = new Client(room, new Uint8Array(16));
    client.#state = state;
    return client;
  }

  /** What to keep for {@link restore}. What it holds never changes: it can be compared with an earlier one, part by part. */
  save(): State {
    return this.#state;
  }

  /** Whether the room's changes are coming in. */
  get isLive(): boolean {
    return this.#session.at === "live";
  }

  /** Handles an event. */
  handle(input: Input, event: Event): Effect[] {
    this.#now = input.now;
    this.#random = input.random;
    this.#effects = [];
    switch (event.type) {
      case "opened":
        this.#opened(event.welcome);
        break;
      case "closed":
        this.#session = CLOSED;
        break;
      case "text":
        this.#read(parse(event.text));
        break;
      case "down":
        this.#read(event.down);
        break;
      case "act":
        this.#act(event.channel, event.action, event.key);
        break;
      case "say":
        if (this.#session.at === "loading" || this.isLive) {
          this.#send({ type: "message", room: this.room, text: event.text });
        }
        break;
      case "token":
        this.#renew(event.token);
        break;
      case "tick":
        this.#tick();
        break;
    }
    this.#schedule();
    return this.#effects;
  }

  #opened(welcome: Welcome | undefined): void {
    this.#session = {
      at: "greeting",
      link: {
        pingMs: PING_MS,
        havePatches: HAVE_PATCHES,
        haveMs: HAVE_MS,
        sentAt: this.#now,
        heardAt: this.#now,
        unconfirmed: 0,
      },
    };
    if (welcome === undefined) this.#send({ type: "hello", versions: [VERSION] });
    else this.#welcomed(welcome);
  }

  #act(channel: string, action: unknown, key: string): void {
    const isFull = this.#state.pending.length >= OPEN_ACTIONS;
    const checked = isFull ? { error: errorOf("busy") } : checkAction(action);
    if ("error" in checked) {
      this.#effects.push({ type: "refused", key, error: checked.error });
      return;
    }
    const number = this.#state.last + 1;
    const pending: Pending = {
      number,
      channel,
      action: checked.action,
      key,
      at: this.#now,
      sent: false,
      appliedAt: null,
    };
    this.#set({ last: number, pending: [...this.#state.pending, pending] });
    this.#effects.push({ type: "changed" });
    this.#sendPending();
  }

  #read(down: Down | undefined): void {
    if (this.#session.at === "closed") return;
    this.#session.link.heardAt = this.#now;
    if (down?.type === "welcome") return this.#welcomed(down);
    // The app's text to a socket that has not said what it speaks; it comes again (SPEC 14.6).
    if (this.#session.at === "greeting") return;
    if (down === undefined) this.#giveUp("socket");
    else if (!("room" in down) || down.room === this.room || down.room === null) this.#down(down);
  }

  #down(down: Down): void {
    // What was on its way when the room was left.
    if (this.#session.at === "refused") return;
    switch (down.type) {
      case "joined":
        return this.#joined(down);
      case "snapshot":
        return this.#snapshot(down);
      case "patch":
        return this.#patch(down);
      case "ack":
        return this.#acked(down.number, down.version);
      case "reject":
        return this.#settle(down.number, fateOf(down.error));
      case "later":
        return this.#later(down);
      case "error":
        this.#effects.push({ type: "error", error: down.error });
        return;
      case "left":
        return this.#left(down.error ?? undefined);
      case "expires":
        this.#effects.push({ type: "token" });
        return;
      case "message":
        this.#effects.push({ type: "message", text: down.text });
        return;
      case "welcome":
      case "pong":
      case "unknown":
        return;
    }
  }

  #welcomed(welcome: Welcome): void {
    if (this.#session.at === "closed") return;
    const { link } = this.#session;
    link.pingMs = Math.max(welcome.ping_ms, 1_000);
    link.havePatches = Math.max(welcome.have_patches ?? HAVE_PATCHES, 1);
    link.haveMs = Math.max(welcome.have_ms ?? HAVE_MS, 1_000);
    this.#join();
  }

  #join(): void {
    if (this.#session.at !== "closed") this.#session = { at: "joining", link: this.#session.link };
    this.#retry = null;
    this.#send({
      type: "join",
      room: this.room,
      client: this.#state.client,
      cursor: this.#state.cursor,
      born: this.#state.born,
      ...(this.#token === null ? {} : { token: this.#token }),
    });
  }

  /** There is another token. One that was refused brings nobody back (SPEC 9.8). */
  #renew(token: string | null): void {
    if (token === this.#token) return;
    this.#token = token;
    const { at } = this.#session;
    if (token === null || at === "closed" || at === "greeting") return;
    if (at === "refused") this.#join();
    else this.#send({ type: "token", room: this.room, token });
  }

  #joined(joined: Joined): void {
    if (this.#session.at === "closed") return;
    const { link } = this.#session;
    // An old copy of the room counts anew: versions of the history that it lost say nothing of who was dropped in this one.
    const born = Math.min(this.#state.born ?? joined.version, joined.version);
    // What was acked and is in this history shows once all that follows is here. The version that the ack named may lie ahead, if an old copy was put back.
    const newest = joined.newest ?? joined.version;
    const pending = this.#state.pending.map((p) =>
      p.appliedAt === null ? p : { ...p, appliedAt: Math.min(p.appliedAt, newest) },
    );
    this.#set({ born, pending });
    if (!joined.known) return this.#startOver(Number.MAX_SAFE_INTEGER);
    // This history lost what another one settled: a restored backup. What of the rest was run in it is not run again.
    if (joined.last < this.#state.settled) return this.#startOver(joined.last);
    // Somebody else used this client's numbers: a copy of its state. Nobody can say whose was run.
    const isForeign =
      joined.last > this.#state.last || this.#state.pending.some((p) => !p.sent && p.number <= joined.last);
    if (isForeign) return this.#startOver(Number.MAX_SAFE_INTEGER);
    this.#decided = { number: joined.last, version: newest };
    if (joined.reset) {
      const cursor = { version: joined.version, stamp: joined.stamp };
      this.#session = { at: "loading", link, cursor, channels: joined.channels, rows: new Map() };
      return;
    }
    this.#session = { at: "live", link };
    this.#name(joined.channels);
    this.#include();
    this.#sendAllAgain();
  }

  /** The room's channels may have other columns than before the reload, if a migration changed no row. */
  #name(channels: Joined["channels"]): void {
    const tables = new Map(this.#state.tables);
    for (const [channel, columns] of Object.entries(channels)) {
      tables.set(channel, (tables.get(channel) ?? Table.EMPTY).with(columns));
    }
    this.#set({ tables });
    this.#effects.push({ type: "changed" });
  }

  /**
   * Takes a fresh id, under which what is pending gets new numbers, and joins with it (SPEC 6.7, 9.5). Of what was sent, up to a
   * number, nobody will say any more what became of it. What was acked, up to that number, is in the room's history: it waits for
   * its rows, under a number that no action of the new id will have.
   */
  #startOver(until: number): void {
    const isLost = (p: Pending) => p.sent && p.appliedAt === null && p.number <= until;
    const [before, pending]: [readonly Pending[], Pending[]] = [this.#state.pending, []];
    let [last, spare] = [0, Number.MAX_SAFE_INTEGER];
    for (const p of before) {
      if (isLost(p)) this.#told(p, { status: "unknown", error: errorOf("client_unknown") });
      else if (p.appliedAt !== null && p.number <= until) pending.push({ ...p, number: spare-- });
      else pending.push({ ...p, number: ++last, sent: false, appliedAt: null, included: false });
    }
    this.#set({
      ...NOBODY,
      client: hex(this.#random),
      last,
      pending,
      cursor: this.#state.cursor,
      tables: this.#state.tables,
    });
    this.#inFlight.clear();
    this.#effects.push({ type: "changed" });
    this.#join();
  }

  #snapshot(snapshot: Snapshot): void {
    const session = this.#session;
    if (session.at !== "loading") return;
    const rows = session.rows.get(snapshot.channel);
    if (rows === undefined) session.rows.set(snapshot.channel, [...snapshot.rows]);
    else for (const row of snapshot.rows) rows.push(row);
    if (snapshot.more) return;
    this.#session = { at: "live", link: session.link };
    this.#settleUntil(session.cursor.version);
    const tables = new Map(
      Object.entries(session.channels).map(([channel, columns]) => [channel, Table.EMPTY.with(columns)]),
    );
    let intact = true;
    for (const [channel, rows] of session.rows) {
      const table = Table.of(tables.get(channel)?.columns ?? [], rows, this.#state.tables.get(channel));
      if (table === undefined) intact = false;
      else tables.set(channel, table);
    }
    this.#advance(session.cursor, intact ? tables : undefined);
    this.#sendAllAgain();
  }

  #patch(patch: Patch): void {
    if (this.#session.at !== "live" || this.#state.cursor === null) return;
    const { link } = this.#session;
    link.unconfirmed += 1;
    if (patch.to <= this.#state.cursor.version) return;
    if (patch.from > this.#state.cursor.version) return this.#join();
    this.#settleUntil(patch.to);
    this.#advance({ version: patch.to, stamp: patch.stamp }, patched(this.#state.tables, patch));
    this.#have(link.havePatches);
  }

  /** The confirmed rows are at a new version; or what came is spoilt, and all is asked for again. */
  #advance(cursor: Cursor, tables: ReadonlyMap<string, Table> | undefined): void {
    this.#set(tables === undefined ? { cursor: null } : { cursor, tables });
    this.#include();
    this.#effects.push({ type: "changed" });
    if (tables === undefined) this.#giveUp("socket");
  }

  /** What the room had decided when it was joined is not predicted any more, once the rows that show it are here. */
  #include(): void {
    const [decided, { cursor }] = [this.#decided, this.#state];
    if (decided === null || cursor === null || cursor.version < decided.version) return;
    this.#decided = null;
    const isIncluded = (p: Pending) => p.sent && p.appliedAt === null && p.number <= decided.number;
    // What another history had decided may be open in this one.
    const as = (p: Pending, included: boolean) => ((p.included ?? false) === included ? p : { ...p, included });
    this.#set({ pending: this.#state.pending.map((p) => as(p, isIncluded(p))) });
  }

  #acked(number: number, version: number): void {
    if (this.#state.cursor !== null && this.#state.cursor.version >= version) {
      return this.#settle(number, { status: "synced", version });
    }
    // Its effect comes with a patch: it goes in the same step (P6).
    const pending = this.#state.pending.map((p) => {
      if (p.number !== number) return p;
      this.#effects.push({ type: "accepted", number, key: p.key });
      return { ...p, appliedAt: version };
    });
    this.#set({ settled: Math.max(this.#state.settled, number), pending });
  }

  #settle(number: number, fate: Fate): void {
    const settled = this.#state.pending.find((p) => p.number === number);
    this.#set({ settled: Math.max(this.#state.settled, number) });
    if (settled === undefined) return;
    this.#set({ pending: this.#state.pending.filter((p) => p !== settled) });
    this.#told(settled, fate);
    this.#effects.push({ type: "changed" });
  }

  /** What was acked goes, if its effect is there at a version. */
  #settleUntil(version: number): void {
    const [stay, go]: [Pending[], Pending[]] = [[], []];
    for (const p of this.#state.pending) (p.appliedAt !== null && p.appliedAt <= version ? go : stay).push(p);
    if (go.length > 0) this.#set({ pending: stay });
    for (const p of go) this.#told(p, { status: "synced", version: p.appliedAt ?? version });
  }

  #told(pending: Pending, fate: Fate): void {
    this.#inFlight.delete(pending.number);
    this.#effects.push({ type: "settled", number: pending.number, key: pending.key, pending, fate });
  }

  /** The number of the first action whose outcome is still to come. */
  #firstOpen(): number | undefined {
    return this.#state.pending.find((p) => p.appliedAt === null)?.number;
  }

  /** The server could not take an action now, nor those behind it. */
  #later(later: Later): void {
    for (const number of this.#inFlight) if (number >= later.number) this.#inFlight.delete(number);
    // Those behind one that has to wait have a gap before them. If the first one has, the room lacks what this client knows to be settled.
    const isGap = this.#firstOpen() === later.number && later.error.retry === "rejoin";
    const rejoin = isGap || this.#retry?.rejoin === true;
    this.#retry = { at: this.#now + later.after_ms, rejoin };
  }

  #left(error: WireError | undefined): void {
    if (error !== undefined && isUnauthorized(error) && this.#session.at !== "closed") {
      this.#session = { at: "refused", link: this.#session.link };
      this.#effects.push({ type: "token", refused: error });
      return;
    }
    if (error?.retry !== "never") return this.#giveUp("room");
    this.#session = CLOSED;
    this.#effects.push({ type: "left", error });
  }

  /** Nothing more is said or heard on this socket, however long it takes until there is another one. */
  #giveUp(scope: "socket" | "room"): void {
    this.#session = CLOSED;
    this.#effects.push({ type: "reconnect", scope });
  }

  /** After a join: what was sent before gets its outcome, what was not gets its first try. */
  #sendAllAgain(): void {
    this.#retry = null;
    this.#inFlight.clear();
    this.#sendPending();
  }

  #sendPending(): void {
    if (!this.isLive || this.#retry !== null) return;
    const isNext = (p: Pending) => p.appliedAt === null && !this.#inFlight.has(p.number);
    const next = this.#state.pending.filter(isNext);
    if (next.some((p) => !p.sent))
      this.#set({ pending: this.#state.pending.map((p) => (isNext(p) && !p.sent ? { ...p, sent: true } : p)) });
    for (const { number, channel, action } of next) {
      this.#inFlight.add(number);
      this.#send({ type: "action", room: this.room, number, channel, action });
    }
  }

  /** Says what it holds, if so many patches came since it last did. */
  #have(patches: number): void {
    if (this.#session.at !== "live" || this.#state.cursor === null || this.#session.link.unconfirmed < patches) return;
    this.#session.link.unconfirmed = 0;
    // A later outcome may be known before one that is still to come: an action's commit failed, and is there all the same.
    const number = (this.#firstOpen() ?? this.#state.settled + 1) - 1;
    this.#send({ type: "have", room: this.room, version: this.#state.cursor.version, number });
  }

  #tick(): void {
    if (this.#retry !== null && this.#retry.at <= this.#now) {
      const { rejoin } = this.#retry;
      this.#retry = null;
      if (rejoin && this.isLive) this.#join();
      this.#sendPending();
    }
    if (this.#session.at === "closed") return;
    const { link } = this.#session;
    if (this.#now - link.heardAt >= DEAD_PINGS * link.pingMs) {
      this.#giveUp("socket");
      return;
    }
    if (this.#now - link.sentAt >= link.haveMs) this.#have(1);
    if (this.#now - link.sentAt >= link.pingMs) this.#send({ type: "ping" });
  }

  /** Asks for the next tick. Asking too often does no harm. */
  #schedule(): void {
    if (this.#session.at === "closed") return;
    const { link } = this.#session;
    const times = [link.sentAt + link.pingMs];
    if (this.isLive && link.unconfirmed > 0) times.push(link.sentAt + link.haveMs);
    if (this.#retry !== null) times.push(this.#retry.at);
    this.#effects.push({ type: "tick_at", at: Math.max(Math.min(...times), this.#now) });
  }

  #set(change: Partial<State>): void {
    this.#state = { ...this.#state, ...change };
  }

  #send(up: Up): void {
    if (this.#session.at === "closed") return;
    this.#session.link.sentAt = this.#now;
    this.#effects.push({ type: "send", frame: encode(up) });
  }
}

/** The action as JSON, or why no room would take it (SPEC 8.6, 11). */
function checkAction(action: unknown): { readonly action: Json } | { readonly error: WireError } {
  let json: string | undefined;
  try {
    json = JSON.stringify(action);
  } catch {
    // A circle, or what JSON has no word for.
  }
  if (json === undefined) return { error: errorOf("bad_action") };
  if (3 * json.length > ACTION_BYTES && new TextEncoder().encode(json).length > ACTION_BYTES)
    return { error: errorOf("too_large") };
  // In a frame it is one level further down.
  if (isNestedTooDeep(json, 1)) return { error: errorOf("bad_action") };
  return { action: JSON.parse(json) as Json };
}

function fateOf(error: WireError): Fate {
  return { status: error.code === "outcome_forgotten" ? "unknown" : "rejected", error };
}

/** The tables after a patch. Undefined: it is spoilt. */
function patched(tables: ReadonlyMap<string, Table>, patch: Patch): ReadonlyMap<string, Table> | undefined {
  const after = new Map(tables);
  for (const changes of patch.changes) {
    const table = (after.get(changes.channel) ?? Table.EMPTY).patched(changes);
    if (table === undefined) return undefined;
    after.set(changes.channel, table);
  }
  return after;
}
