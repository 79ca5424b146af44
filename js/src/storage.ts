// What a room keeps in IndexedDB: rows and cursor, which are a cache, and the queue of actions, which is not.

import { type Fate, NOBODY, type Pending, type State } from "./client.js";
import { isClientId } from "./hex.js";
import { isCount, isCursor, isObject, type Row } from "./protocol.js";
import { Table } from "./table.js";

/** The shape of what is stored. A database of a later one is not opened: another tab runs a newer version of the app. */
const FORMAT = 1;

/** Rows are stored in so many parts a channel, so that a change writes a part, and all of them are few records to read. */
const PARTS = 64;

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
  readonly #db: IDBDatabase;
  readonly #room: string;
  #saved: Kept | undefined;
  #wanted: Kept | undefined;
  /** What of the queue was there before the first save. */
  #queue: readonly Pending[] = [];
  #tail: Promise<void> = Promise.resolve();

  private constructor(db: IDBDatabase, room: string) {
    this.#db = db;
    this.#room = room;
  }

  /** Rejects where storage is refused: a private window, a full disk, another version. */
  static async open(room: string): Promise<Storage> {
    const opening = indexedDB.open("partysync", FORMAT);
    opening.onupgradeneeded = () => {
      for (const store of STORES) opening.result.createObjectStore(store);
    };
    const db = await done(opening);
    // A later version of the app wants to change the database.
    db.onversionchange = () => db.close();
    return new Storage(db, room);
  }

  async load(): Promise<Loaded> {
    const stores = this.#db.transaction(STORES, "readonly");
    const [client, numbers, pending, parts, rows] = await Promise.all([
      done(stores.objectStore("clients").get(this.#room)),
      done(stores.objectStore("pending").getAllKeys(this.#range())),
      done(stores.objectStore("pending").getAll(this.#range())),
      done(stores.objectStore("rows").getAllKeys(this.#range())),
      done(stores.objectStore("rows").getAll(this.#range())),
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

  /** Removes all that is kept of the room. */
  async clear(): Promise<void> {
    await this.#tail.catch(() => {});
    const stores = this.#db.transaction(STORES, "readwrite");
    stores.objectStore("clients").delete(this.#room);
    for (const name of ["pending", "rows"]) stores.objectStore(name).delete(this.#range());
    await committed(stores);
    [this.#saved, this.#wanted, this.#queue] = [undefined, undefined, []];
  }

  async close(): Promise<void> {
    await this.#tail.catch(() => {});
    this.#db.close();
  }

  #range(): IDBKeyRange {
    return IDBKeyRange.bound([this.#room], [this.#room, []]);
  }

  /** Everything in one transaction: rows that are stored are those of the cursor that is. */
  async #write(): Promise<void> {
    const [kept, before] = [this.#wanted, this.#saved];
    if (kept === undefined || kept === before) return;
    const stores = this.#db.transaction(STORES, "readwrite");
    try {
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
    stores.objectStore("clients").put({ ...client, columns, outcomes: kept.outcomes }, this.#room);
    this.#writeQueue(stores.objectStore("pending"), pending, before?.state.pending ?? this.#queue);
    // What was there before the first save is not known here.
    if (before === undefined) stores.objectStore("rows").delete(this.#range());
    this.#writeRows(stores.objectStore("rows"), tables, before?.state.tables ?? new Map());
  }

  #writeQueue(store: IDBObjectStore, now: readonly Pending[], before: readonly Pending[]): void {
    if (now === before) return;
    const numbers = new Set(now.map((p) => p.number));
    for (const { number } of before) if (!numbers.has(number)) store.delete([this.#room, number]);
    const known = new Set(before);
    for (const p of now) if (!known.has(p)) store.put(p, [this.#room, p.number]);
  }

  #writeRows(store: IDBObjectStore, now: ReadonlyMap<string, Table>, before: ReadonlyMap<string, Table>): void {
    for (const channel of before.keys()) {
      if (!now.has(channel)) store.delete(IDBKeyRange.bound([this.#room, channel], [this.#room, channel, []]));
    }
    for (const [channel, table] of now) {
      const old = before.get(channel) ?? Table.EMPTY;
      if (old.rows === table.rows) continue;
      const [parts, was] = [inParts(table), inParts(old)];
      for (const [part, rows] of parts.entries()) {
        if (!isSameList(rows, was[part] ?? [])) store.put(rows, [this.#room, channel, part]);
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
  const { columns, outcomes, cursor, ...ids } = client;
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
  const kept = { state: { ...ids, ...cache, pending: queue }, outcomes: outcomes ?? [] };
  return { kept, orphans: [], isWhole };
}

type StoredClient = Pick<State, "client" | "last" | "settled" | "born" | "cursor"> & {
  readonly columns: readonly [channel: string, columns: readonly string[]][];
  readonly outcomes?: readonly Outcome[];
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

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}
