// What a room keeps in IndexedDB: rows and cursor, which are a cache, and the queue of actions, which is not.

import { type Fate, NOBODY, type Pending, type State } from "./client.js";
import { isClientId } from "./hex.js";
import { isCount, isCursor, isObject, type Row } from "./protocol.js";
import { Table } from "./table.js";

/** The shape of what is stored. A database of a later one is not opened: another tab runs a newer version of the app. */
const FORMAT = 1;

/** Rows are stored in so many parts a channel, so that a change writes a part, and all of them are few records to read. */
const PARTS = 64;

/** Rooms that are kept on a device, of all servers and users. Past it those go that were used least recently, if they have no open actions and no tab is in them. */
export const KEPT_ROOMS = 100;

/** The name of the lock that whoever is a room's client has. */
export function lockOf(room: string): string {
  return `partysync ${room}`;
}

/** What tells what became of an action, for the tab that asked for it. */
export interface Outcome {
  readonly key: string;
  readonly fate: Fate;
}

/** What is kept of a room. */
export interface Kept {
  readonly state: State;
  /** Of the last actions that were settled. */
  readonly outcomes: readonly Outcome[];
}

export interface Loaded {
  /** Undefined: nothing, or nothing that can be read. */
  readonly kept?: Kept;
  /** Actions that may have been run under a client's id that can't be read any more. */
  readonly orphans: readonly Pending[];
}

/** A room's records. `room` names it among those of all servers and users. */
export class Storage {
  protected readonly db: IDBDatabase;
  protected readonly room: string;
  /** Another tab has taken the records over. */
  isLost = false;
  #saved: Kept | undefined;
  #wanted: Kept | undefined;
  /** What of the queue was there before the first save. */
  #queue: readonly Pending[] = [];
  #tail: Promise<void> = Promise.resolve();

  protected constructor(db: IDBDatabase, room: string) {
    this.db = db;
    this.room = room;
  }

  /** Rejects where storage is refused: a private window, a full disk, another version. */
  static async open(room: string): Promise<Storage> {
    return new Storage(await opened(), room);
  }

  /** What a room's record says of the tab that has it: nothing where a lock does. */
  protected holder(): object | undefined {
    return undefined;
  }

  /** Rejects if it is not this one any more. */
  protected held?(stores: IDBTransaction): Promise<unknown>;

  /** Whether a tab has a room by what its record says. */
  protected isHeld(_: StoredClient | undefined): boolean {
    return false;
  }

  async load(): Promise<Loaded> {
    const stores = this.db.transaction(STORES, "readonly");
    const [client, numbers, pending, parts, rows] = await Promise.all([
      done(stores.objectStore("clients").get(this.room)),
      done(stores.objectStore("pending").getAllKeys(rangeOf(this.room))),
      done(stores.objectStore("pending").getAll(rangeOf(this.room))),
      done(stores.objectStore("rows").getAllKeys(rangeOf(this.room))),
      done(stores.objectStore("rows").getAll(rangeOf(this.room))),
    ]);
    // What can't be read of the queue stays where it is.
    const queue = pending.filter((p, i): p is Pending => isPending(p) && p.number === (numbers[i] as unknown[])[1]);
    this.#queue = queue;
    const names = parts.map((key) => String((key as unknown[])[1]));
    const loaded = restored(client, queue, names, rows);
    // What was loaded as it is stored is not written again.
    if (loaded.isWhole) this.#saved = loaded.kept;
    return loaded;
  }

  /** Resolves once this, or what was handed in after it, is stored. */
  save(kept: Kept): Promise<void> {
    this.#wanted = kept;
    // What failed before may work now: the caller may have less to store.
    this.#tail = this.#tail.catch(() => {}).then(() => this.#write());
    return this.#tail;
  }

  /** Removes rooms past {@link KEPT_ROOMS}. */
  async prune(): Promise<void> {
    const clients = this.db.transaction("clients", "readwrite").objectStore("clients");
    const [own, rooms, records] = await Promise.all([
      done(clients.get(this.room)),
      done(clients.getAllKeys()),
      done(clients.getAll()),
    ]);
    // To be read counts as being used.
    if (own !== undefined) clients.put({ ...own, usedAt: Date.now() }, this.room);
    const usedAt = new Map(rooms.map((room, i) => [String(room), Number(records[i]?.usedAt ?? 0)]));
    usedAt.delete(this.room);
    const old = [...usedAt].sort(([, a], [, b]) => b - a).slice(KEPT_ROOMS - 1);
    for (const [room] of old) {
      // Without locks there are leases.
      if (navigator.locks === undefined) await this.#remove(room);
      else
        await navigator.locks.request(lockOf(room), { ifAvailable: true }, async (lock) => {
          if (lock !== null) await this.#remove(room);
        });
    }
  }

  /** Removes what is kept of a room, if there are no open actions and no tab holds it. */
  async #remove(room: string): Promise<void> {
    const stores = this.db.transaction(STORES, "readwrite");
    const open = await done(stores.objectStore("pending").count(rangeOf(room)));
    if (open > 0 || this.isHeld(await done(stores.objectStore("clients").get(room)))) return;
    stores.objectStore("clients").delete(room);
    stores.objectStore("rows").delete(rangeOf(room));
    await committed(stores);
  }

  /** Removes all that is kept of the room. */
  async clear(): Promise<void> {
    await this.settled();
    const stores = this.db.transaction(STORES, "readwrite");
    await this.held?.(stores);
    const clients = stores.objectStore("clients");
    const holder = this.holder();
    if (holder === undefined) clients.delete(this.room);
    else clients.put(holder, this.room);
    for (const name of ["pending", "rows"]) stores.objectStore(name).delete(rangeOf(this.room));
    await committed(stores);
    [this.#saved, this.#wanted, this.#queue] = [undefined, undefined, []];
  }

  /** Resolves when nothing more is being stored. */
  protected settled(): Promise<void> {
    return this.#tail.catch(() => {});
  }

  async close(): Promise<void> {
    await this.settled();
    this.db.close();
  }

  /** Everything in one transaction: rows that are stored are those of the cursor that is. */
  async #write(): Promise<void> {
    const [kept, before] = [this.#wanted, this.#saved];
    if (kept === undefined || kept === before) return;
    const stores = this.db.transaction(STORES, "readwrite");
    try {
      await this.held?.(stores);
      this.#put(stores, kept, before);
    } catch (why) {
      // Half of it must not be committed.
      stores.abort();
      throw why;
    }
    await committed(stores);
    this.#saved = kept;
  }

  #put(stores: IDBTransaction, kept: Kept, before: Kept | undefined): void {
    const { tables, pending, ...client } = kept.state;
    const columns = [...tables].map(([channel, table]) => [channel, table.columns]);
    stores
      .objectStore("clients")
      .put({ ...client, columns, outcomes: kept.outcomes, usedAt: Date.now(), ...this.holder() }, this.room);
    this.#writeQueue(stores.objectStore("pending"), pending, before?.state.pending ?? this.#queue);
    // What was there before the first save is not known here.
    if (before === undefined) stores.objectStore("rows").delete(rangeOf(this.room));
    this.#writeRows(stores.objectStore("rows"), tables, before?.state.tables ?? new Map());
  }

  #writeQueue(store: IDBObjectStore, now: readonly Pending[], before: readonly Pending[]): void {
    if (now === before) return;
    const numbers = new Set(now.map((p) => p.number));
    for (const { number } of before) if (!numbers.has(number)) store.delete([this.room, number]);
    const known = new Set(before);
    for (const p of now) if (!known.has(p)) store.put(p, [this.room, p.number]);
  }

  #writeRows(store: IDBObjectStore, now: ReadonlyMap<string, Table>, before: ReadonlyMap<string, Table>): void {
    for (const channel of before.keys()) {
      if (!now.has(channel)) store.delete(IDBKeyRange.bound([this.room, channel], [this.room, channel, []]));
    }
    for (const [channel, table] of now) {
      const old = before.get(channel) ?? Table.EMPTY;
      if (old.rows === table.rows) continue;
      const [parts, was] = [inParts(table), inParts(old)];
      for (const [part, rows] of parts.entries()) {
        if (!isSameList(rows, was[part] ?? [])) store.put(rows, [this.room, channel, part]);
      }
    }
  }
}

const STORES = ["clients", "pending", "rows"];

/** What a room starts from. What can't be read is left out, and with a part of the cache all of it. */
function restored(
  client: unknown,
  queue: readonly Pending[],
  channels: readonly string[],
  parts: unknown[],
): Loaded & { readonly isWhole: boolean } {
  if (!isClient(client)) {
    if (queue.length === 0) return { orphans: [], isWhole: false };
    // The queue is there, and not whose it is: what may have been run must not be run again under another id.
    const unsent = queue.filter((p) => !p.sent).map((p, i) => ({ ...p, number: i + 1 }));
    const state = { ...NOBODY, last: unsent.length, pending: unsent };
    return { kept: { state, outcomes: [] }, orphans: queue.filter((p) => p.sent), isWhole: false };
  }
  const { client: id, last, settled, born, columns, outcomes, cursor } = client;
  const rows = new Map<string, unknown[]>(columns.map(([channel]) => [channel, []]));
  for (const [i, part] of parts.entries()) {
    if (Array.isArray(part)) rows.get(channels[i] ?? "")?.push(...part);
  }
  const tables = new Map<string, Table>();
  for (const [channel, names] of columns) {
    const table = Table.of(names, rows.get(channel) ?? []);
    if (table !== undefined) tables.set(channel, table);
  }
  const isWhole = parts.every(Array.isArray) && tables.size === columns.length && isCursor(cursor);
  const cache = isWhole ? { cursor, tables } : { cursor: null, tables: new Map<string, Table>() };
  // Without rows there is nothing that shows what came of an action.
  const pending = isWhole ? queue : queue.map((p) => ({ ...p, included: false }));
  const kept = { state: { client: id, last, settled, born, ...cache, pending }, outcomes: outcomes ?? [] };
  return { kept, orphans: [], isWhole };
}

export type StoredClient = Pick<State, "client" | "last" | "settled" | "born" | "cursor"> & {
  readonly columns: readonly [channel: string, columns: readonly string[]][];
  readonly outcomes?: readonly Outcome[];
  readonly usedAt?: number;
  readonly owner?: string | undefined;
};

/** A cursor that is none is the cache's fault; an id or a number that is none is not to be mended. */
function isClient(value: unknown): value is StoredClient {
  return (
    isObject(value) &&
    isClientId(value.client) &&
    isCount(value.last) &&
    isCount(value.settled) &&
    (value.born === null || isCount(value.born)) &&
    Array.isArray(value.columns) &&
    value.columns.every((entry) => Array.isArray(entry) && Array.isArray(entry[1]))
  );
}

function isPending(value: unknown): value is Pending {
  return (
    isObject(value) &&
    isCount(value.number) &&
    typeof value.channel === "string" &&
    typeof value.key === "string" &&
    typeof value.sent === "boolean" &&
    "action" in value
  );
}

function inParts(table: Table): readonly (readonly Row[])[] {
  const parts: Row[][] = Array.from({ length: PARTS }, () => []);
  for (const row of table.rows) {
    let hash = 0;
    for (const character of String(row[0])) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) | 0;
    parts[(hash >>> 0) % PARTS]?.push(row);
  }
  return parts;
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** The keys of a room's records. */
export function rangeOf(room: string): IDBKeyRange {
  return IDBKeyRange.bound([room], [room, []]);
}

export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The database of all rooms. */
export async function opened(): Promise<IDBDatabase> {
  const opening = indexedDB.open("partysync", FORMAT);
  opening.onupgradeneeded = () => {
    for (const store of STORES) opening.result.createObjectStore(store);
  };
  const db = await done(opening);
  // A later version of the app wants to change the database.
  db.onversionchange = () => db.close();
  return db;
}

export function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}
