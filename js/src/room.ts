// A room as an app holds it: its rows, what is pending, how it is connected.

import { Channel } from "./channel.js";
import { Client, type Effect, type Event, type Fate, type Pending, type State } from "./client.js";
import { errorOf, type WireError } from "./error.js";
import { hex } from "./ids.js";
import type { Rider } from "./link.js";
import { type Down, encode, type Json, type Welcome } from "./protocol.js";
import { BROKEN, delay, isFinal } from "./redial.js";
import { Table } from "./table.js";
import type { Ride, Transport } from "./transport.js";
import { type Reducer, type Shape, type Source, View } from "./view.js";

/** How long a room that nobody looks at is held, in case somebody looks again. */
const LINGER_MS = 5_000;

/** Problems that are kept to be shown. Past it the oldest goes. */
const PROBLEMS = 20;

/** Who was live for so long has not failed before. */
const GOOD_MS = 5_000;

/** The room took an action; its rows are on their way. */
export interface Accepted {
  readonly status: "accepted";
}

/**
 * An action's way: a promise of what becomes of it, which never rejects. Being offline, or a server that is silent, is no fate: the
 * action stays pending, and the promise waits.
 */
export type Sent = Promise<Fate> & {
  /** As early as the room has taken it, which is before its rows are here. */
  readonly accepted: Promise<Accepted | Fate>;
};

/** Something that went wrong, to be shown. */
export interface Problem {
  readonly error: WireError;
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** The action that was rejected, or whose fate nobody knows; absent if it is about none. */
  readonly action?: Json;
  readonly channel?: string;
  readonly status?: "rejected" | "unknown";
}

export interface Status {
  /**
   * `idle`: nobody uses the room. `connecting`: for the first time. `live`: changes come in. `offline`: the connection is lost; it is
   * tried again. `refused`: the room may not be entered; `reconnect()` tries again.
   */
  readonly connection: "idle" | "connecting" | "live" | "offline" | "refused";
  /** Why it was refused. */
  readonly refusal?: WireError;
  /** Actions whose fate is open. */
  readonly pending: number;
  /** The last ones, newest last. */
  readonly problems: readonly Problem[];
}

/** What tells of an action that its `Sent` would tell, too, for actions of before a reload as well. */
export interface Settled {
  readonly channel: string;
  readonly action: Json;
  readonly fate: Fate;
}

export interface ChannelOptions<R, A> {
  /** How an action will change the rows. The same function gets the same channel: define it outside of components. */
  readonly reducer?: Reducer<R, A> | undefined;
  /** `tuples` unless it is said. */
  readonly rows?: Shape | undefined;
  /** The channels whose actions the reducer is given; its own alone, unless it is said. */
  readonly actions?: readonly string[] | undefined;
}

interface Waiting {
  accepted(what: Accepted | Fate): void;
  settled(fate: Fate): void;
}

const NO_REDUCER = {};

const IDLE: Status = Object.freeze({ connection: "idle", pending: 0, problems: [] });

export class Room {
  /** `party/room`. */
  readonly name: string;
  readonly #transport: Transport;
  #client: Client;
  #state: State;
  #status: Status = IDLE;
  #ride: Ride | undefined;
  /** Counts the sockets' comings and goings, so that a token that comes late is not used for another one. */
  #socket = 0;
  #users = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #tick: ReturnType<typeof setTimeout> | undefined;
  #back: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #liveAt = 0;
  readonly #waiting = new Map<string, Waiting>();
  /** By shape and name, then by reducer: what nobody uses any more can go, reducers written inside of components above all. */
  readonly #channels = new Map<string, WeakMap<object, Channel<never, never>>>();
  /** Those that somebody listens to, and by how many. */
  readonly #shown = new Map<Channel<never, never>, number>();
  readonly #listeners = new Set<() => void>();
  readonly #messages = new Set<(text: string) => void>();
  readonly #settled = new Set<(settled: Settled) => void>();

  /** @internal Rooms come from `connect(...).room(...)` and `roomOf(socket)`. */
  constructor(name: string, transport: Transport) {
    this.name = name;
    this.#transport = transport;
    this.#client = new Client(name, random());
    this.#state = this.#client.save();
  }

  /** How it stands with the room. The same object until something of it changes. */
  get status(): Status {
    return this.#status;
  }

  /** Calls back when the status changes, until what it returns is called. The room is held meanwhile. */
  subscribe(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    const leave = this.hold();
    return () => {
      if (this.#listeners.delete(own)) leave();
    };
  }

  /** A channel. The same one for the same name, reducer and shape. */
  channel<R, A = unknown>(name: string, options: ChannelOptions<R, A> = {}): Channel<R, A> {
    const shape = options.rows ?? "tuples";
    const actions = options.actions ?? [name];
    const key = JSON.stringify([shape, name, actions]);
    const made = this.#channels.get(key) ?? new WeakMap<object, Channel<never, never>>();
    this.#channels.set(key, made);
    const reducer = options.reducer ?? NO_REDUCER;
    const known = made.get(reducer) as unknown as Channel<R, A> | undefined;
    if (known !== undefined) return known;
    const host = {
      source: () => this.#source(name, actions),
      use: () => this.#show(channel as unknown as Channel<never, never>),
      send: (action: unknown) => this.send(name, action),
    };
    const channel: Channel<R, A> = new Channel<R, A>(host, new View<R>(shape, options.reducer as Reducer<R, never>));
    made.set(reducer, channel as unknown as Channel<never, never>);
    return channel;
  }

  /** Asks for an action of a channel. */
  send(channel: string, action: unknown): Sent {
    const key = hex(random());
    let waiting: Waiting | undefined;
    const accepted = new Promise<Accepted | Fate>((resolve) => {
      waiting = { accepted: resolve, settled: () => {} };
    });
    const sent = new Promise<Fate>((resolve) => {
      this.#waiting.set(key, { accepted: waiting?.accepted ?? (() => {}), settled: resolve });
    });
    this.#handle({ type: "act", channel, action, key });
    this.#attend();
    return Object.assign(sent, { accepted });
  }

  /** Sends a text to the app's own code in the room (`on_message`). Without a connection it is lost. */
  say(text: string): void {
    this.#handle({ type: "say", text });
  }

  /** Calls back with each text that the app's own code in the room sends. */
  onMessage(listener: (text: string) => void): () => void {
    this.#messages.add(listener);
    return () => this.#messages.delete(listener);
  }

  /** Calls back with each action's fate. */
  onSettled(listener: (settled: Settled) => void): () => void {
    this.#settled.add(listener);
    return () => this.#settled.delete(listener);
  }

  /** Empties the list of problems: the user has seen them. */
  dismiss(): void {
    this.#set({ problems: [] });
  }

  /** Tries again at once, after a refusal too. */
  reconnect(): void {
    clearTimeout(this.#back);
    if (this.#users === 0 && this.#state.pending.length === 0) return;
    if (this.#status.connection === "refused") this.#leave();
    if (this.#ride === undefined) this.#enter();
    else this.#ride.reconnect("socket");
  }

  /** Holds the room, as listening to it does, until what it returns is called. */
  hold(): () => void {
    this.#users += 1;
    this.#attend();
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#users -= 1;
      this.#attend();
    };
  }

  #show(channel: Channel<never, never>): () => void {
    this.#shown.set(channel, (this.#shown.get(channel) ?? 0) + 1);
    const leave = this.hold();
    return () => {
      const others = (this.#shown.get(channel) ?? 1) - 1;
      if (others > 0) this.#shown.set(channel, others);
      else this.#shown.delete(channel);
      leave();
    };
  }

  #source(channel: string, actions: readonly string[]): Source {
    const { client, tables, pending } = this.#state;
    return {
      client,
      table: tables.get(channel) ?? Table.EMPTY,
      pending: pending.filter((p) => actions.includes(p.channel)),
    };
  }

  /** Enters the room if somebody wants something of it, and leaves it a while after nobody does. */
  #attend(): void {
    clearTimeout(this.#linger);
    const isWanted = this.#users > 0 || (this.#state.pending.length > 0 && !this.#transport.isOver);
    if (isWanted && this.#status.connection === "idle") this.#enter();
    else if (!isWanted && this.#status.connection !== "idle") {
      this.#linger = setTimeout(() => this.#leave(), LINGER_MS);
      unref(this.#linger);
    }
  }

  #enter(): void {
    this.#set({ connection: "connecting" });
    this.#ride = this.#transport.add(this.#rider());
  }

  #leave(): void {
    for (const timer of [this.#linger, this.#tick, this.#back]) clearTimeout(timer);
    this.#ride?.send(encode({ type: "leave", room: this.name }));
    this.#ride?.end();
    this.#ride = undefined;
    this.#socket += 1;
    this.#handle({ type: "closed" });
    this.#set({ connection: "idle" });
  }

  #rider(): Rider {
    return {
      room: this.name,
      opened: (welcome) => void this.#opened(welcome),
      heard: (down) => this.#heard(down),
      closed: (code, reason) => this.#closed(code, reason),
    };
  }

  async #opened(welcome: Welcome): Promise<void> {
    const socket = ++this.#socket;
    const { token } = this.#transport;
    try {
      const proof = await (typeof token === "function" ? token() : token);
      if (socket !== this.#socket) return;
      if (proof !== undefined) this.#handle({ type: "token", token: proof });
    } catch {
      if (socket === this.#socket) this.#comeBack("room");
      return;
    }
    this.#handle({ type: "opened", welcome });
  }

  #heard(down: Down | undefined): void {
    // The answer to a `leave` of before.
    if (down?.type === "left" && !down.error) return;
    this.#handle({ type: "down", down });
    if (this.#client.isLive && this.#status.connection !== "live") {
      this.#liveAt = Date.now();
      this.#set({ connection: "live" });
    }
  }

  #closed(code: number, reason: string): void {
    this.#socket += 1;
    clearTimeout(this.#back);
    this.#handle({ type: "closed" });
    if (isFinal(code)) this.#refuse(errorOf("not_allowed", reason));
    else if (this.#status.connection !== "refused") this.#set({ connection: "offline" });
  }

  #refuse(refusal: WireError): void {
    this.#ride?.end();
    this.#ride = undefined;
    this.#problem({ error: refusal, at: Date.now() });
    this.#set({ connection: "refused", refusal });
  }

  #handle(event: Event): void {
    const effects = this.#client.handle({ now: Date.now(), random: random() }, event);
    this.#state = this.#client.save();
    const fates: (() => void)[] = [];
    for (const effect of effects) this.#carryOut(effect, fates);
    if (effects.some((e) => e.type === "changed")) this.#changed();
    // After what is shown, so that whoever waited finds it there.
    for (const tell of fates) tell();
  }

  #carryOut(effect: Effect, fates: (() => void)[]): void {
    switch (effect.type) {
      case "send":
        this.#ride?.send(effect.frame);
        break;
      case "accepted":
        this.#waiting.get(effect.key)?.accepted({ status: "accepted" });
        break;
      case "settled":
        fates.push(() => this.#tell(effect.key, effect.pending, effect.fate));
        break;
      case "refused":
        fates.push(() => this.#tell(effect.key, undefined, { status: "rejected", error: effect.error }));
        break;
      case "message":
        for (const listener of [...this.#messages]) listener(effect.text);
        break;
      case "error":
        this.#problem({ error: effect.error, at: Date.now() });
        break;
      case "reconnect":
        this.#comeBack(effect.scope);
        break;
      case "left":
        this.#refuse(effect.error);
        break;
      case "tick_at":
        clearTimeout(this.#tick);
        this.#tick = setTimeout(() => this.#handle({ type: "tick" }), effect.at - Date.now());
        unref(this.#tick);
        break;
      case "changed":
        break;
    }
  }

  /** Not at once, whatever was wrong: it may be wrong again. */
  #comeBack(scope: "socket" | "room"): void {
    if (Date.now() - this.#liveAt > GOOD_MS) this.#failures = 0;
    this.#set({ connection: "offline" });
    clearTimeout(this.#back);
    this.#back = setTimeout(() => this.#ride?.reconnect(scope), delay(BROKEN, this.#failures, Math.random()));
    this.#failures += 1;
  }

  #tell(key: string, pending: Pending | undefined, fate: Fate): void {
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    waiting?.accepted(fate);
    waiting?.settled(fate);
    if (fate.status !== "synced") {
      const about = pending === undefined ? {} : { action: pending.action, channel: pending.channel };
      this.#problem({ error: fate.error, at: Date.now(), status: fate.status, ...about });
    }
    if (pending !== undefined) {
      for (const listener of [...this.#settled]) listener({ channel: pending.channel, action: pending.action, fate });
    }
  }

  #problem(problem: Problem): void {
    this.#set({ problems: [...this.#status.problems, problem].slice(-PROBLEMS) });
  }

  /** Rows and status change for all at once. */
  #changed(): void {
    const told: (() => void)[] = [];
    for (const channel of this.#shown.keys()) told.push(...channel.changed());
    this.#set({ pending: this.#state.pending.length });
    for (const listener of told) listener();
    if (this.#state.pending.length === 0) this.#attend();
  }

  #set(change: Partial<Status>): void {
    const { refusal, ...rest } = { ...this.#status, ...change };
    const next: Status = rest.connection === "refused" && refusal !== undefined ? { ...rest, refusal } : rest;
    const keys = Object.keys({ ...this.#status, ...next }) as (keyof Status)[];
    if (keys.every((key) => this.#status[key] === next[key])) return;
    this.#status = Object.freeze(next);
    for (const listener of [...this.#listeners]) listener();
  }
}

function random(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}

/** In Node a timer alone is no reason to go on. */
function unref(timer: unknown): void {
  (timer as { unref?: () => void }).unref?.();
}
