// What survives a reload: a channel's rows in IndexedDB. Keyed by the channel alone, so two rooms of
// one origin share it, as they do in the original.

import { openDB } from "idb";

import type { Row } from "./rows";

export class Store<R extends Row> {
  constructor(private readonly channel: string) {}

  /** All rows that were ever stored, deleted ones too, oldest first. */
  async all(): Promise<R[]> {
    const entries: { value: R }[] = await (await this.open()).getAll(this.channel);
    const createdAt = (row: R) => new Date(row.at(-3) as string | number).getTime();
    return entries.map(({ value }) => value).sort((a, b) => createdAt(a) - createdAt(b));
  }

  async put(rows: R[]): Promise<void> {
    const transaction = (await this.open()).transaction(this.channel, "readwrite");
    for (const row of rows) void transaction.store.put({ key: row[0], value: row });
    await transaction.done;
  }

  private open() {
    return openDB(`partysync-${this.channel}`, 1, {
      upgrade: (db) => void db.createObjectStore(this.channel, { keyPath: "key" }),
    });
  }
}
