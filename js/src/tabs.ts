// The tabs of one browser that have the same room open: one of them, the leader, is the client; the others follow it.

import type { Fate, Pending } from "./client.js";
import type { Connected, Handed, Shown } from "./driver.js";
import type { WireError } from "./error.js";
import { hex, random } from "./hex.js";
import type { Id, Row } from "./protocol.js";
import { lockOf, Storage } from "./storage.js";
import { Table } from "./table.js";

/** How it stands with the leader. */
export interface Standing {
  readonly connection: Connected;
  readonly refusal?: WireError | undefined;
  readonly isKept: boolean;
  readonly why?: string | undefined;
}

/** How a table differs from the one before; `whole` if there is none before. */
interface TableChange {
  readonly channel: string;
  readonly columns: readonly string[];
  readonly whole: boolean;
  readonly puts: readonly Row[];
  readonly deletes: readonly Id[];
}

type Message =
  /** A follower wants to know all. */
  | { readonly type: "hello" }
  | { readonly type: "act"; readonly handed: Handed }
  | { readonly type: "say"; readonly text: string }
  | { readonly type: "reconnect" }
  | { readonly type: "forget" }
  /** The leader's state, or what changed of it: `count` grows by one with each. */
  | {
      readonly type: "state";
      readonly leader: string;
      readonly count: number;
      readonly whole: boolean;
      readonly client: string;
      readonly last: number;
      readonly tables: readonly TableChange[];
      readonly pending: readonly Pending[];
      readonly standing: Standing;
    }
  | { readonly type: "accepted"; readonly key: string }
  | { readonly type: "settled"; readonly key: string; readonly fate: Fate; readonly pending?: Pending | undefined }
  | { readonly type: "message"; readonly text: string };

/** What a tab is told. */
export interface Tab {
  /** It is the leader now, until it lets go. */
  lead(): void;
  /** A follower wants something. */
  asked(message: Extract<Message, { type: "act" | "say" | "reconnect" | "forget" }>): void;
  /** The leader shows this; a new one, or for the first time, or once more from the beginning, if `isNew`. */
  follow(shown: Shown, standing: Standing, isNew: boolean): void;
  /** The leader tells what it would tell its own user. */
  told(message: Extract<Message, { type: "accepted" | "settled" | "message" }>): void;
}

/** Where a tab sits that has a room open. */
export interface Chair {
  /** What is kept, once it leads. */
  open(): Promise<Storage>;
  /** A follower asks the leader. */
  ask(message: Parameters<Tab["asked"]>[0]): void;
  /** The leader tells the followers. */
  tell(message: Parameters<Tab["told"]>[0]): void;
  /** The leader shows the followers its state. */
  show(shown: Shown, standing: Standing): void;
  leave(): void;
}

/** A tab's seat among those that have a room open. */
export class Seat implements Chair {
  readonly #room: string;
  readonly #tab: Tab;
  readonly #wire: BroadcastChannel;
  readonly #me = hex(random());
  readonly #waiting = new AbortController();
  #letGo: (() => void) | undefined;
  /** Whether anybody may follow: a leader alone compares nothing. */
  #isFollowed = true;
  #hasGreeted = false;
  #count = 0;
  #leader = "";
  #shown: Shown = { client: "", last: 0, tables: new Map(), pending: [] };
  #standing: Standing = { connection: "connecting", isKept: true };

  constructor(room: string, tab: Tab) {
    this.#room = room;
    this.#tab = tab;
    this.#wire = new BroadcastChannel(lockOf(room));
    this.#wire.onmessage = ({ data }: MessageEvent<Message>) => this.#heard(data);
    this.#post({ type: "hello" });
    const lead = () => new Promise<void>((resolve) => this.#lead(resolve));
    const { signal } = this.#waiting;
    navigator.locks.request(lockOf(room), { signal }, lead).catch(() => {
      // It left before its turn came.
    });
  }

  get leads(): boolean {
    return this.#letGo !== undefined;
  }

  open(): Promise<Storage> {
    return Storage.open(this.#room);
  }

  ask(message: Parameters<Tab["asked"]>[0]): void {
    this.#post(message);
  }

  tell(message: Parameters<Tab["told"]>[0]): void {
    this.#post(message);
  }

  show(shown: Shown, standing: Standing): void {
    if (this.#isFollowed) this.#state(shown, standing, this.#shown);
    // Followers of an earlier leader say so when they hear of this one.
    this.#isFollowed = this.#hasGreeted;
    [this.#shown, this.#standing] = [shown, standing];
  }

  leave(): void {
    this.#waiting.abort();
    this.#wire.close();
    this.#letGo?.();
    this.#letGo = undefined;
  }

  #lead(letGo: () => void): void {
    this.#letGo = letGo;
    this.#tab.lead();
  }

  #heard(message: Message): void {
    switch (message.type) {
      case "hello":
        [this.#hasGreeted, this.#isFollowed] = [true, true];
        if (this.leads) this.#state(this.#shown, this.#standing, undefined);
        break;
      case "act":
      case "say":
      case "reconnect":
      case "forget":
        if (this.leads) this.#tab.asked(message);
        break;
      case "state":
        if (!this.leads) this.#follow(message);
        break;
      default:
        if (!this.leads) this.#tab.told(message);
    }
  }

  #state(shown: Shown, standing: Standing, old: Shown | undefined): void {
    // Without a channel that was there it is another state altogether.
    const isLess = old !== undefined && [...old.tables.keys()].some((channel) => !shown.tables.has(channel));
    const before = isLess ? undefined : old;
    const tables = [...shown.tables].flatMap(([channel, table]) => {
      const change = changeOf(channel, table, before?.tables.get(channel));
      return change === undefined ? [] : [change];
    });
    const { client, last, pending } = shown;
    const head = { leader: this.#me, count: ++this.#count, whole: before === undefined, client, last };
    this.#post({ type: "state", ...head, tables, pending, standing });
  }

  #follow(message: Extract<Message, { type: "state" }>): void {
    const isNext = message.leader === this.#leader && message.count === this.#count + 1;
    if (!message.whole && !isNext) {
      this.#leader = "";
      this.#post({ type: "hello" });
      return;
    }
    [this.#leader, this.#count] = [message.leader, message.count];
    const tables = new Map(message.whole ? [] : this.#shown.tables);
    for (const change of message.tables)
      tables.set(change.channel, changed(this.#shown.tables.get(change.channel), change));
    const { client, last, pending, standing } = message;
    this.#shown = { client, last, tables, pending };
    this.#tab.follow(this.#shown, standing, message.whole);
  }

  #post(message: Message): void {
    this.#wire.postMessage(message);
  }
}

function changeOf(channel: string, table: Table, before: Table | undefined): TableChange | undefined {
  if (table === before) return undefined;
  const old = before ?? Table.EMPTY;
  const puts = table.rows.filter((row) => old.row(row[0]) !== row);
  const deletes = old.rows.flatMap(([id]) => (table.row(id) === undefined ? [id] : []));
  return { channel, columns: table.columns, whole: before === undefined, puts, deletes };
}

function changed(before: Table | undefined, { channel, columns, whole, puts, deletes }: TableChange): Table {
  // Rows that were there already stay the same objects.
  if (whole) return Table.of(columns, puts, before) ?? Table.EMPTY;
  return ((before ?? Table.EMPTY).patched({ channel, puts, deletes }) ?? Table.EMPTY).with(columns);
}
