// The confirmed rows of a channel.

import { type Changes, type Id, isId, isRow, type Row } from "./protocol.js";

/** Rows by id, in the order in which they were made. Rows and lists never change: a change makes new ones. */
export class Table {
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
  readonly #byId: ReadonlyMap<Id, Row>;

  private constructor(columns: readonly string[], byId: ReadonlyMap<Id, Row>, rows: readonly Row[]) {
    this.columns = columns;
    this.#byId = byId;
    this.rows = rows;
  }

  static readonly EMPTY = new Table([], new Map(), []);

  /** Rows that `before` has too stay the same objects. Undefined: something of it is no row. */
  static of(columns: readonly string[], rows: readonly unknown[], before = Table.EMPTY): Table | undefined {
    const byId = new Map<Id, Row>();
    for (const row of rows) {
      if (!isRow(row)) return undefined;
      const old = before.row(row[0]);
      byId.set(row[0], old !== undefined && isSame(old, row) ? old : Object.freeze(row));
    }
    return new Table(columns, byId, [...byId.values()].sort(byAge));
  }

  row(id: Id): Row | undefined {
    return this.#byId.get(id);
  }

  with(columns: readonly string[]): Table {
    return new Table(columns, this.#byId, this.rows);
  }

  /** The table after changes. Undefined: something of them is no row or no id. */
  patched({ puts, deletes }: Changes): Table | undefined {
    const changed = Table.of(this.columns, puts, this);
    if (changed === undefined || !deletes.every(isId)) return undefined;
    const byId = new Map(this.#byId);
    for (const id of deletes) byId.delete(id);
    for (const row of changed.rows) byId.set(row[0], row);
    const gone = new Set<Id>(deletes);
    const stay = this.rows.filter((row) => !gone.has(row[0]) && changed.row(row[0]) === undefined);
    return new Table(this.columns, byId, merged(stay, changed.rows));
  }
}

/** Whether two rows, tuples or objects, say the same. */
export function isSame(a: object, b: object): boolean {
  if (a === b) return true;
  const keys = Object.keys(a);
  const values = (key: string) => [(a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]] as const;
  return keys.length === Object.keys(b).length && keys.every((key) => Object.is(...values(key)));
}

/** By `created_at`, which stands third from last, then by id. */
function byAge(a: Row, b: Row): number {
  const [left, right] = [a.at(-3), b.at(-3)];
  if (left !== right && typeof left === "number" && typeof right === "number") return left - right;
  if (typeof a[0] === typeof b[0]) return a[0] < b[0] ? -1 : 1;
  return typeof a[0] === "number" ? -1 : 1;
}

/** Two lists that are in order, as one. */
function merged(left: readonly Row[], right: readonly Row[]): readonly Row[] {
  const out: Row[] = [];
  let next = 0;
  for (const row of left) {
    for (let other = right[next]; other !== undefined && byAge(other, row) < 0; other = right[++next]) out.push(other);
    out.push(row);
  }
  return out.concat(right.slice(next));
}
