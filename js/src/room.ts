// A room as an app holds it: its rows, what is pending, how it is connected.

import { Channel } from "./channel.js";
import type { Fate, Pending } from "./client.js";
import { type Audience, type Connected, Driver, type Handed, type Home, type Shown, unref } from "./driver.js";
import { errorOf, type WireError } from "./error.js";
import { hex, random } from "./hex.js";
import { type Json, OPEN_ACTIONS } from "./protocol.js";
import { Table } from "./table.js";
import type { Transport } from "./transport.js";
import { type Reducer, type Shape, type Source, View } from "./view.js";

/** How long a room that nobody looks at is held, in case somebody looks again. */
const LINGER_MS = 5_000;

/** Problems that are kept to be shown. Past it the oldest goes. */
const PROBLEMS = 20;

/** When showing a change took longer, the next ones are shown together. */
const LONG_MS = 8;

/** They wait so many times as long as that took, and no longer than so long: there is time left for other things. */
const REST = 4;
const LONGEST_REST_MS = 500;

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
  readonly connection: "idle" | Connected;
  /** Why it was refused; or, while it is `offline`, why its token was, for which another one is asked for. */
  readonly refusal?: WireError | undefined;
  /** Actions whose fate is open. */
  readonly pending: number;
  /** Whether rows and open actions outlive a reload: `kept` on this device, or in `memory` alone. */
  readonly storage: "kept" | "memory";
  /** Why they don't, though they were meant to; with `kept`, why open actions alone do: the disk is full. */
  readonly storageProblem?: string | undefined;
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

export interface RoomOptions {
  /** False: nothing is kept on this device. Otherwise rows and open actions are, where IndexedDB is to be had. */
  readonly storage?: boolean | undefined;
  /** Who uses it: what is kept for one is not shown to another. */
  readonly user?: string | undefined;
}

interface Waiting {
  accepted(what: Accepted | Fate): void;
  settled(fate: Fate): void;
}

type AnyChannel = Channel<never, never>;

const NO_REDUCER = {};

export const IDLE: Status = Object.freeze({ connection: "idle", pending: 0, storage: "memory", problems: [] });

const NOTHING: Shown = { client: "", last: 0, tables: new Map(), pending: [] };

export class Room {
  /** `party/room`. */
  readonly name: string;
  readonly #transport: Transport;
  /** The room's name among all that are kept on this device. Undefined: nothing is kept. */
  readonly #key: string | undefined;
  #status: Status = IDLE;
  #shown: Shown = NOTHING;
  /** What is to be shown next, and what of `#handed` goes with it. */
  #next: Shown = NOTHING;
  readonly #done = new Set<string>();
  #rest: ReturnType<typeof setTimeout> | undefined;
  #cost_ms = 0;
  /** Actions that nobody has taken yet, or that the leader was handed. */
  readonly #handed = new Map<string, Handed>();
  /** Undefined until what keeps rooms is loaded. */
  #home: Home | undefined;
  /** Counts the comings and goings. */
  #visit = 0;
  #users = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;
  readonly #waiting = new Map<string, Waiting>();
  /** By what they are, then by reducer: what nobody uses any more can go, reducers written inside of components above all. */
  readonly #channels = new Map<string, WeakMap<object, AnyChannel>>();
  /** Those that somebody listens to, and by how many. */
  readonly #listened = new Map<AnyChannel, number>();
  readonly #listeners = new Set<() => void>();
  readonly #messages = new Set<(text: string) => void>();
  readonly #settled = new Set<(settled: Settled) => void>();

  /** @internal Rooms come from `connect(...).room(...)` and `roomOf(socket)`. */
  constructor(name: string, transport: Transport, { storage = true, user = "" }: RoomOptions = {}) {
    this.name = name;
    this.#transport = transport;
    const isKept = storage && typeof indexedDB !== "undefined";
    this.#key = isKept ? JSON.stringify([transport.server, name, user]) : undefined;
    if (this.#key === undefined) this.#home = new Driver(name, transport, this.#audience());
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

  /** A channel. The same one for the same name and options. */
  channel<R, A = unknown>(name: string, options: ChannelOptions<R, A> = {}): Channel<R, A> {
    const shape = options.rows ?? "tuples";
    const actions = options.actions ?? [name];
    const key = JSON.stringify([shape, name, actions]);
    const made = this.#channels.get(key) ?? new WeakMap<object, AnyChannel>();
    this.#channels.set(key, made);
    const reducer = options.reducer ?? NO_REDUCER;
    const known = made.get(reducer) as unknown as Channel<R, A> | undefined;
    if (known !== undefined) return known;
    const host = {
      source: () => this.#source(name, actions),
      use: () => this.#listen(channel as unknown as AnyChannel),
      send: (action: unknown) => this.send(name, action),
    };
    const channel: Channel<R, A> = new Channel<R, A>(host, new View<R>(shape, options.reducer as Reducer<R, never>));
    made.set(reducer, channel as unknown as AnyChannel);
    return channel;
  }

  /** Asks for an action of a channel. */
  send(channel: string, action: unknown): Sent {
    const key = hex(random());
    let onAccepted: Waiting["accepted"] = () => {};
    const accepted = new Promise<Accepted | Fate>((resolve) => {
      onAccepted = resolve;
    });
    const sent = new Promise<Fate>((resolve) => this.#waiting.set(key, { accepted: onAccepted, settled: resolve }));
    const handed = { key, channel, action, at: Date.now() };
    if (this.#status.pending >= OPEN_ACTIONS) {
      this.#tell(key, { status: "rejected", error: errorOf("busy") });
      return Object.assign(sent, { accepted });
    }
    this.#handed.set(key, handed);
    this.#home?.act(handed);
    this.#changed();
    this.#attend();
    return Object.assign(sent, { accepted });
  }

  /** Sends a text to the app's own code in the room (`on_message`). Without a connection it is lost. */
  say(text: string): void {
    this.#home?.say(text);
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
    if (this.#status.connection !== "idle") this.#home?.reconnect();
  }

  /** Removes all that is kept of a room that is in use, on this device, open actions too, and takes the rows from the server anew. */
  forget(): void {
    void this.#home?.forget();
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

  #listen(channel: AnyChannel): () => void {
    this.#listened.set(channel, (this.#listened.get(channel) ?? 0) + 1);
    const leave = this.hold();
    return () => {
      const others = (this.#listened.get(channel) ?? 1) - 1;
      if (others > 0) this.#listened.set(channel, others);
      else this.#listened.delete(channel);
      leave();
    };
  }

  #source(channel: string, actions: readonly string[]): Source {
    const { client, tables } = this.#shown;
    const pending = this.#pending().filter((p) => actions.includes(p.channel));
    return { client, table: tables.get(channel) ?? Table.EMPTY, pending };
  }

  /** What is pending, and behind it what nobody has taken yet. */
  #pending(): readonly Pending[] {
    const { pending, last } = this.#shown;
    if (this.#handed.size === 0) return pending;
    const keys = new Set(pending.map((p) => p.key));
    const rest = [...this.#handed.values()].filter(({ key }) => !keys.has(key));
    const asPending = (handed: Handed, i: number): Pending => ({
      ...handed,
      action: handed.action as Json,
      number: last + i + 1,
      sent: false,
      appliedAt: null,
    });
    return [...pending, ...rest.map(asPending)];
  }

  /** Enters the room if somebody wants something of it, and leaves it a while after nobody does. */
  #attend(): void {
    clearTimeout(this.#linger);
    const isIn = this.#status.connection !== "idle";
    const isWaiting = this.#status.pending > 0 && !this.#transport.isOver;
    if (this.#users > 0 || isWaiting) {
      if (!isIn) void this.#enter();
    } else if (!isIn) return;
    if (this.#users > 0) return;
    // What is pending keeps it entered, as long as its socket may come back.
    this.#linger = setTimeout(() => (isWaiting ? this.#attend() : this.#leave()), LINGER_MS);
    unref(this.#linger);
  }

  async #enter(): Promise<void> {
    const visit = ++this.#visit;
    this.#set({ connection: "connecting" });
    // A socket that says nothing is taken for one of version 1.
    this.#transport.greet?.();
    if (this.#key !== undefined) {
      const home = await this.#keptHome(this.#key);
      if (visit !== this.#visit) return;
      this.#home = home;
      for (const handed of this.#handed.values()) home.act(handed);
    }
    this.#home?.enter();
  }

  /** A home that keeps, in a part of the package that a page loads when it needs it; or one that does not, and says why. */
  async #keptHome(key: string): Promise<Home> {
    const [name, transport, audience] = [this.name, this.#transport, this.#audience()];
    try {
      const { Kept } = await import("./kept.js");
      const chair = canChoose() ? undefined : (await import("./alone.js")).Alone;
      return new Kept(key, name, transport, audience, chair);
    } catch (why) {
      audience.kept(false, why);
      return new Driver(name, transport, audience);
    }
  }

  #leave(): void {
    const home = this.#home;
    this.#visit += 1;
    if (this.#key !== undefined) this.#home = undefined;
    this.#set({ connection: "idle" });
    void home?.leave();
  }

  #audience(): Audience {
    const visit = this.#visit;
    // What is late from a home that was left is not shown.
    const isOn = () => this.#key === undefined || visit === this.#visit;
    return {
      changed: (shown) => {
        if (!isOn()) return;
        this.#next = shown;
        // With a long queue each change is predicted anew for long. What the user does is shown at once all the same, by `send`.
        if (this.#cost_ms < LONG_MS) this.#show();
        else this.#rest ??= setTimeout(() => this.#show(), Math.min(REST * this.#cost_ms, LONGEST_REST_MS));
      },
      connected: (connection, refusal) =>
        isOn() && this.#status.connection !== "idle" && this.#set({ connection, refusal }),
      accepted: (key) => this.#waiting.get(key)?.accepted({ status: "accepted" }),
      settled: (key, fate, pending, isOthers) => this.#tell(key, fate, pending, isOthers),
      message: (text) => {
        for (const listener of [...this.#messages]) listener(text);
      },
      failed: (error) => this.#problem({ error, at: Date.now() }),
      kept: (isKept, why) => {
        this.#set({ storage: isKept ? "kept" : "memory", storageProblem: why === undefined ? undefined : String(why) });
      },
    };
  }

  #tell(key: string, fate: Fate, pending?: Pending, isOthers?: boolean): void {
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    // It goes in the step in which its rows come (P6).
    if (pending === undefined) this.#handed.delete(key);
    else this.#done.add(key);
    waiting?.accepted(fate);
    waiting?.settled(fate);
    // Each tab shows what became of its own actions, and the leader of those whose tab is gone.
    if (fate.status !== "synced" && (waiting !== undefined || !isOthers)) {
      const about = pending === undefined ? {} : { action: pending.action, channel: pending.channel };
      this.#problem({ error: fate.error, at: Date.now(), status: fate.status, ...about });
    }
    if (pending === undefined) return;
    const settled = { channel: pending.channel, action: pending.action, fate };
    // When the rows that belong to it are there.
    queueMicrotask(() => {
      for (const listener of [...this.#settled]) listener(settled);
    });
  }

  #problem(problem: Problem): void {
    this.#set({ problems: [...this.#status.problems, problem].slice(-PROBLEMS) });
  }

  #show(): void {
    clearTimeout(this.#rest);
    this.#rest = undefined;
    const start = performance.now();
    this.#shown = this.#next;
    for (const key of this.#done) this.#handed.delete(key);
    this.#done.clear();
    this.#changed();
    this.#cost_ms = performance.now() - start;
  }

  /** Rows and status change for all at once. */
  #changed(): void {
    const told: (() => void)[] = [];
    for (const channel of this.#listened.keys()) told.push(...channel.changed());
    this.#set({ pending: this.#pending().length });
    for (const listener of told) listener();
    if (this.#status.pending === 0) this.#attend();
  }

  #set(change: Partial<Status>): void {
    const next: Status = { ...this.#status, ...change };
    const keys = Object.keys(next) as (keyof Status)[];
    if (keys.every((key) => this.#status[key] === next[key])) return;
    this.#status = Object.freeze(next);
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Whether tabs can choose a leader here. */
function canChoose(): boolean {
  return globalThis.navigator?.locks !== undefined && typeof BroadcastChannel !== "undefined";
}
