// A tab where tabs can't agree who leads, for there are no Web Locks: it is a client of its own, with records of its own. A page
// loads this when it needs it.

import { hex, random } from "./hex.js";
import { committed, done, opened, rangeOf, Storage, type StoredClient } from "./storage.js";
import type { Chair, Tab } from "./tabs.js";

/** Tabs that may keep a room at a time: each has a slot. One more has it in memory. */
export const SLOTS = 16;

/** For so long a tab holds its slot that gives no sign of life. Browsers let hidden pages do something once a minute. */
export const LEASE_MS = 150_000;

/** How often it gives one. */
const BEAT_MS = 20_000;

export class Alone implements Chair {
  readonly #room: string;
  readonly #me = hex(random());
  #beat: ReturnType<typeof setInterval> | undefined;

  constructor(room: string, tab: Tab) {
    this.#room = room;
    queueMicrotask(() => tab.lead());
  }

  async open(): Promise<Storage> {
    const key = `partysync ${this.#room}`;
    // What the page that was here before has left. A tab that is made as a copy of this one does not find it.
    const before = sessionStorage.getItem(key);
    sessionStorage.removeItem(key);
    const storage = await Leased.take(this.#room, this.#me, before);
    this.#beat = setInterval(() => void storage.beat().catch(() => {}), BEAT_MS);
    globalThis.addEventListener?.("pagehide", this.#leaves);
    return storage;
  }

  leave(): void {
    clearInterval(this.#beat);
    globalThis.removeEventListener?.("pagehide", this.#leaves);
  }

  readonly #leaves = (): void => sessionStorage.setItem(`partysync ${this.#room}`, this.#me);

  // There is nobody to ask, and nobody to tell.
  ask(): void {}
  tell(): void {}
  show(): void {}
}

/**
 * The records of a slot. A tab holds it by a lease, which decides nothing by itself: each transaction looks whether the slot is still
 * this tab's, and nothing that changes the queue is said before it is stored (SPEC 9.5). So a tab that slept for longer writes and says
 * nothing more.
 */
class Leased extends Storage {
  readonly #owner: string;

  private constructor(db: IDBDatabase, slot: string, owner: string) {
    super(db, slot);
    this.#owner = owner;
  }

  /**
   * Takes a slot that no tab holds, one with open actions if there is one. `before`: who held one and is gone, as this tab knows: the
   * page that was here before it was loaded again.
   */
  static async take(room: string, owner: string, before: string | null): Promise<Leased> {
    const db = await opened();
    const stores = db.transaction(["clients", "pending"], "readwrite");
    const clients = stores.objectStore("clients");
    const slots = Array.from({ length: SLOTS }, async (_, i) => {
      const slot = `${room} ${i}`;
      const pending = stores.objectStore("pending").count(rangeOf(slot));
      const [record, open] = await Promise.all([done(clients.get(slot)), done(pending)]);
      const isMine = record?.owner !== undefined && record.owner === before;
      return { slot, record, rank: isMine ? 2 : isLeased(record) ? -1 : Math.min(open, 1) };
    });
    const [best] = (await Promise.all(slots)).sort((a, b) => b.rank - a.rank);
    if (best === undefined || best.rank < 0) {
      db.close();
      throw new Error("As many tabs as may are in this room.");
    }
    clients.put({ ...best.record, owner, usedAt: Date.now() }, best.slot);
    await committed(stores);
    return new Leased(db, best.slot, owner);
  }

  /** Goes on holding it. */
  beat(): Promise<void> {
    return this.#mark({ usedAt: Date.now() });
  }

  /** Lets go of it. Without that it is held until the lease ends. */
  override async close(): Promise<void> {
    await this.settled();
    await this.#mark({ owner: undefined }).catch(() => {});
    await super.close();
  }

  protected override holder(): object {
    return { owner: this.#owner, usedAt: Date.now() };
  }

  protected override async held(stores: IDBTransaction): Promise<object> {
    const record = await done(stores.objectStore("clients").get(this.room));
    this.isLost = record?.owner !== this.#owner;
    if (this.isLost) throw new Error("This tab slept for too long. Another one goes on in its place.");
    return record;
  }

  protected override isHeld(record: StoredClient | undefined): boolean {
    return isLeased(record);
  }

  async #mark(change: Partial<StoredClient>): Promise<void> {
    const stores = this.db.transaction("clients", "readwrite");
    const record = await this.held(stores);
    stores.objectStore("clients").put({ ...record, ...change }, this.room);
    await committed(stores);
  }
}

/** Whether a tab holds a slot. A clock that was set back makes no lease longer. */
function isLeased(record: StoredClient | undefined): boolean {
  return record?.owner !== undefined && Math.abs(Date.now() - (record.usedAt ?? 0)) < LEASE_MS;
}
