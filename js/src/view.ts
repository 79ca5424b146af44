// A channel as the user sees it: confirmed rows with pending actions on top (SPEC 9.1).

import type { Pending } from "./client.js";
import type { Id, Json, Row } from "./protocol.js";
import { isSame, type Table } from "./table.js";

/** What a prediction may need beside rows and action: the same each time it is made again, unless the action is sent again under another number. */
export interface Prediction {
  /** When the action was asked for, in milliseconds since 1970. */
  readonly now: number;
  /** Whose action it is, and its number: what `newId` of `partysync-client/ids` makes ids from. */
  readonly client: string;
  readonly number: number;
}

/** How an action will change a channel's rows. What it throws is taken as: that can't be foretold (SPEC 9.3). */
export type Reducer<R, A> = (rows: R[], action: A, prediction: Prediction) => readonly R[];

/** Rows as they travel, or as objects with the columns' names. */
export type Shape = "tuples" | "objects";

/** What a view is made from. Parts that are the same object are the same. */
export interface Source {
  readonly client: string;
  readonly table: Table;
  /** The channel's own, in order. */
  readonly pending: readonly Pending[];
}

/** A table's rows as objects, made once. */
const objects = new WeakMap<Table, readonly unknown[]>();
const objectOf = new WeakMap<readonly string[], WeakMap<Row, unknown>>();

export class View<R> {
  readonly #reducer: Reducer<R, never> | undefined;
  readonly #shape: Shape;
  #source: Source | undefined;
  /** What was shown last, as it came from the reducer, and what each pending action left. */
  #predicted: readonly R[] = [];
  #rows: readonly R[] = Object.freeze([]) as readonly R[];
  #byId: ReadonlyMap<Id, R> | undefined;

  constructor(shape: Shape, reducer: Reducer<R, never> | undefined) {
    this.#shape = shape;
    this.#reducer = reducer;
  }

  get rows(): readonly R[] {
    return this.#rows;
  }

  row(id: Id): R | undefined {
    this.#byId ??= new Map(this.#rows.map((row) => [this.#idOf(row), row]));
    return this.#byId.get(id);
  }

  /** Shows another state. Rows that say the same stay the same objects, and so does their list. Returns whether it changed. */
  show(source: Source): boolean {
    const before = this.#rows;
    const old = this.#source;
    if (old !== undefined && isContinued(old, source) && old.pending.length === source.pending.length) return false;
    this.#predicted = this.#predict(source);
    this.#source = source;
    const known = (row: R) => {
      const same = this.row(this.#idOf(row));
      return same !== undefined && isSame(same as object, row as object) ? same : row;
    };
    // Confirmed rows are the same objects already.
    const rows =
      this.#predicted === confirmed(source.table, this.#shape) ? this.#predicted : this.#predicted.map(known);
    if (rows.length === before.length && rows.every((row, i) => row === before[i])) return false;
    this.#rows = Object.freeze(rows);
    this.#byId = undefined;
    return true;
  }

  #predict({ client, table, pending }: Source): readonly R[] {
    const start = confirmed<R>(table, this.#shape);
    const old = this.#source;
    const goesOn = old !== undefined && isContinued(old, { client, table, pending });
    const [base, rest] = goesOn ? [this.#predicted, pending.slice(old.pending.length)] : [start, pending];
    return rest.reduce((rows, p) => this.#applied(rows, p, client), base);
  }

  #applied(rows: readonly R[], pending: Pending, client: string): readonly R[] {
    if (this.#reducer === undefined || pending.included) return rows;
    const { action, at: now, number } = pending;
    try {
      return this.#reducer([...rows], action as never, { now, client, number });
    } catch {
      return rows;
    }
  }

  #idOf(row: R): Id {
    return (this.#shape === "tuples" ? (row as Row)[0] : (row as { id: Id }).id) as Id;
  }
}

/** Whether a state shows what another one does, perhaps with more that is pending behind it. */
function isContinued(old: Source, { client, table, pending }: Source): boolean {
  const isSamePending = (p: Pending, i: number) =>
    p.number === pending[i]?.number && p.included === pending[i].included;
  return old.table === table && old.client === client && old.pending.every(isSamePending);
}

function confirmed<R>(table: Table, shape: Shape): readonly R[] {
  if (shape === "tuples") return table.rows as readonly R[];
  let rows = objects.get(table);
  if (rows === undefined) {
    rows = Object.freeze(table.rows.map((row) => asObject(row, table.columns)));
    objects.set(table, rows);
  }
  return rows as readonly R[];
}

function asObject(row: Row, columns: readonly string[]): unknown {
  const made = objectOf.get(columns) ?? new WeakMap<Row, unknown>();
  objectOf.set(columns, made);
  let object = made.get(row);
  if (object === undefined) {
    object = Object.freeze(Object.fromEntries(columns.map((column, i) => [column, row[i] as Json])));
    made.set(row, object);
  }
  return object;
}
