// A row of version 1: its columns in order, the id first, created_at, updated_at and deleted_at last.

export type Row = unknown[];

export const isLive = (row: Row) => row.at(-1) === null;

/** What a sync's payload does: each row replaces its namesake or is appended, deleted or not. */
export function replaced<R extends Row>(rows: R[], payload: R[]): R[] {
  return payload.reduce(put, [...rows]);
}

/** What an update and an action's result do: the same, but deleted rows go. */
export function changed<R extends Row>(rows: R[], changes: R[]): R[] {
  return changes.reduce(
    (rows, change) => (isLive(change) ? put(rows, change) : rows.filter((row) => row[0] !== change[0])),
    [...rows],
  );
}

/** The largest time in the rows, or null: what the hook asks to be told from. */
export function newest(rows: Row[]): unknown {
  let newest: any = null;
  for (const row of rows) {
    for (const time of row.slice(-2)) {
      if (time && (!newest || (time as any) > newest)) newest = time;
    }
  }
  return newest;
}

function put<R extends Row>(rows: R[], row: R): R[] {
  const index = rows.findIndex((known) => known[0] === row[0]);
  if (index === -1) rows.push(row);
  else rows[index] = row;
  return rows;
}
