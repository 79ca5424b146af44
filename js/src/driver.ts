// Drives a client of a room: sockets, clock, chance and storage for the logic in client.ts, which has none.

import { Client, type Effect, type Event, type Fate, type Pending, type State } from "./client.js";
import { errorOf, UNAUTHORIZED, type WireError } from "./error.js";
import { GOOD_MS } from "./errors.js";
import { hex, random } from "./hex.js";
import type { Rider } from "./link.js";
import { type Down, encode, type Welcome } from "./protocol.js";
import { BROKEN, delay, isFinal } from "./redial.js";
import type { Kept, Outcome, Storage } from "./storage.js";
import { ask, type Ride, type Transport } from "./transport.js";

/** Fates that are kept for tabs that have not heard of them. */
const OUTCOMES = 50;

/** Until rows that came are stored; what concerns the queue is stored before anything is said of it. */
const STORE_MS = 300;

export type Connected = "connecting" | "live" | "offline" | "refused";

/** An action that the user asks for. `key` names it among all tabs. */
export interface Handed {
  readonly key: string;
  readonly channel: string;
  readonly action: unknown;
  readonly at: number;
}

/** What is shown of a room. */
export type Shown = Pick<State, "client" | "last" | "tables" | "pending">;

/** Where the client of a room is: in this tab, or in another one that leads. */
export interface Home {
  /** Enters the room, and comes back to it whenever the socket breaks. */
  enter(): void;
  leave(): Promise<void>;
  act(handed: Handed): void;
  say(text: string): void;
  /** At once, after a refusal too. */
  reconnect(): void;
  /** Removes all that is kept, open actions too, and takes the rows anew. */
  forget(): Promise<void>;
}

/** Whom a home tells. */
export interface Audience {
  /** Rows, or what is pending, changed. Fates that belong to the change were told before. */
  changed(shown: Shown): void;
  connected(connection: Connected, refusal?: WireError): void;
  accepted(key: string): void;
  /** Without `pending` it never was. `isOthers`: another tab shows it to the user. */
  settled(key: string, fate: Fate, pending?: Pending, isOthers?: boolean): void;
  message(text: string): void;
  /** Something about no action. */
  failed(error: WireError): void;
  /** Whether anything is kept from now on; if not, or if it is the queue alone, why. */
  kept(isKept: boolean, why?: unknown): void;
}

const NO_TABLES: State["tables"] = new Map();

export class Driver implements Home {
  readonly #room: string;
  readonly #transport: Transport;
  readonly #audience: Audience;
  #client: Client;
  #state: State;
  #storage: Storage | undefined;
  #hasLeft = false;
  /** The queue alone is stored. */
  #isBare = false;
  #outcomes: readonly Outcome[];
  #ride: Ride | undefined;
  #connection: Connected = "connecting";
  /** Counts the sockets' comings and goings: what was meant for one is not sent on another. */
  #socket = 0;
  /** Frames wait in it until what they tell is stored. Undefined: nothing waits. */
  #line: Promise<void> | undefined;
  #tick: ReturnType<typeof setTimeout> | undefined;
  #back: ReturnType<typeof setTimeout> | undefined;
  #store: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #liveAt = 0;
  /** The token that the app gave last, and one that was refused since it was last live. */
  #token: string | undefined;
  #refused: string | undefined;
  /** What the door said to that. */
  #refusal: WireError | undefined;

  constructor(room: string, transport: Transport, audience: Audience, storage?: Storage, kept?: Kept) {
    this.#room = room;
    this.#transport = transport;
    this.#audience = audience;
    this.#storage = storage;
    const state = kept?.state;
    // A queue whose client is lost goes on under a fresh id.
    const client = state === undefined ? undefined : { ...state, client: state.client || hex(random()) };
    this.#client = client === undefined ? new Client(room, random()) : Client.restore(room, client);
    this.#state = this.#client.save();
    this.#outcomes = kept?.outcomes ?? [];
  }

  get state(): State {
    return this.#state;
  }

  get outcomes(): readonly Outcome[] {
    return this.#outcomes;
  }

  enter(): void {
    this.#connected("connecting");
    this.#ride ??= this.#transport.add(this.#rider());
    globalThis.addEventListener?.("pagehide", this.#keep);
  }

  /** Resolves when all is stored. */
  async leave(): Promise<void> {
    this.#hasLeft = true;
    this.#go();
    const storage = this.#storage;
    if (storage === undefined) return;
    await this.#keep();
    this.#storage = undefined;
    await storage.close();
  }

  act({ channel, action, key }: Handed): void {
    this.#handle({ type: "act", channel, action, key });
  }

  say(text: string): void {
    this.#handle({ type: "say", text });
  }

  reconnect(): void {
    clearTimeout(this.#back);
    this.#refused = undefined;
    this.#refusal = undefined;
    if (this.#ride === undefined) this.enter();
    else this.#ride.reconnect("socket");
  }

  async forget(): Promise<void> {
    this.#go();
    const { pending } = this.#state;
    this.#client = new Client(this.#room, random());
    this.#state = this.#client.save();
    this.#outcomes = [];
    for (const p of pending) this.#audience.settled(p.key, { status: "unknown", error: errorOf("client_unknown") }, p);
    this.#audience.changed(this.#state);
    await this.#storage?.clear().catch((why: unknown) => this.#unkept(why));
    this.enter();
  }

  #go(): void {
    globalThis.removeEventListener?.("pagehide", this.#keep);
    for (const timer of [this.#tick, this.#back, this.#store]) clearTimeout(timer);
    this.#store = undefined;
    this.#ride?.send(encode({ type: "leave", room: this.#room }));
    this.#ride?.end();
    this.#ride = undefined;
    this.#socket += 1;
    this.#handle({ type: "closed" });
  }

  #rider(): Rider {
    return {
      room: this.#room,
      proof: () => this.#proof(),
      opened: (welcome) => void this.#opened(welcome),
      heard: (down) => this.#heard(down),
      closed: (code, reason) => this.#closed(code, reason),
    };
  }

  async #opened(welcome: Welcome): Promise<void> {
    const socket = ++this.#socket;
    try {
      const token = (await this.#proof()) ?? null;
      if (socket !== this.#socket) return;
      this.#handle({ type: "token", token });
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
    if (!this.#client.isLive || this.#connection === "live") return;
    this.#liveAt = Date.now();
    this.#refused = undefined;
    this.#refusal = undefined;
    this.#connected("live");
  }

  #closed(code: number, reason: string): void {
    this.#socket += 1;
    clearTimeout(this.#back);
    this.#handle({ type: "closed" });
    if (code === UNAUTHORIZED && this.#isRenewable()) {
      this.#ride?.end();
      this.#ride = undefined;
      this.#unauthorized(errorOf("not_allowed", reason), () => {
        this.#ride = this.#transport.add(this.#rider());
      });
    } else if (isFinal(code)) this.#refuse(errorOf("not_allowed", reason));
    else if (this.#connection !== "refused") this.#connected("offline", this.#refusal);
  }

  #isRenewable(): boolean {
    return typeof this.#transport.token === "function";
  }

  /** What proves who it is. Rejects if that was refused: nobody comes back with it (SPEC 9.8). */
  async #proof(): Promise<string | undefined> {
    const token = await ask(this.#transport.token);
    this.#token = token;
    if (this.#refusal === undefined) return token;
    // Signed out: that will not change by itself.
    if (token === undefined) this.#refuse(this.#refusal);
    if (token === undefined || token === this.#refused) throw new Error(this.#refusal.text);
    return token;
  }

  /** Its token was refused: it comes back with another one, for which the app is asked at once, then after delays. */
  #unauthorized(refusal: WireError, comeBack: () => void): void {
    this.#refused = this.#token;
    this.#refusal = refusal;
    this.#connected("offline", refusal);
    this.#wait(comeBack, this.#failures === 0 ? 0 : undefined);
  }

  /** Hands in the token that the app has by now. In a room that was left for the one before, it enters with it. */
  async #renew(): Promise<void> {
    const socket = this.#socket;
    try {
      const token = await this.#proof();
      if (socket === this.#socket && token !== undefined) this.#handle({ type: "token", token });
    } catch {
      if (socket === this.#socket) this.#wait(() => void this.#renew());
    }
  }

  #refuse(refusal: WireError): void {
    clearTimeout(this.#back);
    this.#socket += 1;
    this.#handle({ type: "closed" });
    this.#ride?.end();
    this.#ride = undefined;
    this.#audience.failed(refusal);
    this.#connected("refused", refusal);
  }

  #connected(connection: Connected, refusal?: WireError): void {
    if (this.#connection === "live" && Date.now() - this.#liveAt > GOOD_MS) this.#failures = 0;
    this.#connection = connection;
    this.#audience.connected(connection, refusal);
  }

  #handle(event: Event): void {
    const before = this.#state;
    const effects = this.#client.handle({ now: Date.now(), random: random() }, event);
    this.#state = this.#client.save();
    const frames: string[] = [];
    for (const effect of effects) this.#carryOut(effect, frames);
    this.#save(before);
    this.#send(frames);
    if (effects.some((e) => e.type === "changed")) this.#audience.changed(this.#state);
  }

  #carryOut(effect: Effect, frames: string[]): void {
    switch (effect.type) {
      case "send":
        frames.push(effect.frame);
        break;
      case "accepted":
        this.#audience.accepted(effect.key);
        break;
      case "settled":
        this.#outcomes = [...this.#outcomes, { key: effect.key, fate: effect.fate }].slice(-OUTCOMES);
        this.#audience.settled(effect.key, effect.fate, effect.pending);
        break;
      case "refused":
        this.#audience.settled(effect.key, { status: "rejected", error: effect.error });
        break;
      case "message":
        this.#audience.message(effect.text);
        break;
      case "error":
        this.#audience.failed(effect.error);
        break;
      case "reconnect":
        this.#comeBack(effect.scope);
        break;
      case "token":
        if (effect.refused === undefined) void this.#renew();
        else if (this.#isRenewable()) this.#unauthorized(effect.refused, () => void this.#renew());
        else this.#refuse(effect.refused);
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
    this.#connected("offline", this.#refusal);
    this.#wait(() => this.#ride?.reconnect(scope));
  }

  #wait(comeBack: () => void, ms = delay(BROKEN, this.#failures, Math.random())): void {
    clearTimeout(this.#back);
    this.#back = setTimeout(comeBack, ms);
    this.#failures += 1;
  }

  /**
   * Stores what changed. The queue at once, and nothing is said before that is done: a number that was sent and then forgotten would
   * be used twice, and an action that was sent but stored as unsent could be run twice (SPEC 9.5).
   */
  #save(before: State): void {
    if (this.#storage === undefined) return;
    const queue = ({ client, last, settled, born, pending }: State) => [client, last, settled, born, pending];
    const now = queue(this.#state);
    if (queue(before).some((part, i) => part !== now[i])) this.#queue(() => this.#keep());
    else if (before.tables !== this.#state.tables) this.#store ??= setTimeout(this.#keep, STORE_MS);
  }

  readonly #keep = (): Promise<void> => {
    clearTimeout(this.#store);
    this.#store = undefined;
    const saved = this.#storage?.save(this.#kept()) ?? Promise.resolve();
    return saved.catch((why: unknown) => this.#unkept(why));
  };

  /** Storing failed. A full disk may still have room for the queue, if the cache goes. */
  #unkept(why: unknown): Promise<void> | void {
    if (this.#storage === undefined) return;
    if (this.#storage.isLost) return this.#hasLeft ? undefined : this.#lose(why);
    this.#audience.kept(!this.#isBare, why);
    if (this.#isBare) this.#storage = undefined;
    else {
      this.#isBare = true;
      return this.#keep();
    }
  }

  /** Another tab goes on with what was kept. This one starts anew, in memory: the fate of what was open is for the other to learn. */
  #lose(why: unknown): Promise<void> {
    void this.#storage?.close();
    this.#storage = undefined;
    this.#audience.kept(false, why);
    return this.forget();
  }

  #kept(): Kept {
    const state = this.#isBare ? { ...this.#state, cursor: null, tables: NO_TABLES } : this.#state;
    return { state, outcomes: this.#outcomes };
  }

  #send(frames: readonly string[]): void {
    if (frames.length === 0) return;
    const socket = this.#socket;
    const send = () => {
      if (socket === this.#socket) for (const frame of frames) this.#ride?.send(frame);
    };
    if (this.#line === undefined) send();
    else this.#queue(send);
  }

  /** Does something when all that waits is done. */
  #queue(what: () => Promise<void> | void): void {
    // Storing begins at once; what is sent waits for it.
    const begun = this.#line === undefined ? what() : undefined;
    const line = this.#line === undefined ? Promise.resolve(begun) : this.#line.then(what);
    this.#line = line;
    void line.then(() => {
      if (this.#line === line) this.#line = undefined;
    });
  }
}

/** In Node a timer alone is no reason to go on. */
export function unref(timer: unknown): void {
  (timer as { unref?: () => void }).unref?.();
}
