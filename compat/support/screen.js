// What an unmodified client makes of what it hears: rows by id, the last column its deleted_at. It stores them under the
// channel's name alone, and starts from there when its page is opened again.

export class Screen {
  /** What is shown: id to row. */
  shown = new Map();
  /** What is stored for the next visit, deleted rows too. */
  stored;

  constructor(stored = new Map()) {
    this.stored = stored;
    for (const [id, row] of stored) if (row.at(-1) === null) this.shown.set(id, row);
  }

  /** What the next visit asks for a sync from: the largest time stored. */
  get from() {
    const times = [...this.stored.values()].flatMap((row) => row.slice(-2)).filter((time) => time !== null);
    return times.reduce((largest, time) => (largest === null || time > largest ? time : largest), null);
  }

  hear(frame) {
    const rows = frame.payload ?? frame.result ?? [];
    for (const row of rows) {
      const [id, deletedAt] = [row[0], row.at(-1)];
      // A sync's rows are shown whether or not they are deleted.
      if (frame.sync || deletedAt === null) this.shown.set(id, row);
      else this.shown.delete(id);
      this.stored.set(id, row);
    }
  }

  /** The ids that are shown, in order. */
  get ids() {
    return [...this.shown.keys()].sort();
  }
}
