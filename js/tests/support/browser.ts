// What of a browser Node lacks: IndexedDB (fake-indexeddb's) and Web Locks, of which these are the part that rooms use.

import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { vi } from "vitest";

type Holder = (lock: object | null) => Promise<void>;
type Turn = () => Promise<void>;

/** Exclusive locks, in the order in which they were asked for. */
export class Locks {
  readonly #queues = new Map<string, Turn[]>();

  request(name: string, options: { signal?: AbortSignal; ifAvailable?: boolean }, holder: Holder): Promise<void> {
    if (options.ifAvailable && this.#queues.get(name)?.length) return holder(null);
    return new Promise((resolve, reject) => {
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      const turn = async () => {
        await holder({ name });
        queue.shift();
        void queue[0]?.();
        resolve();
      };
      options.signal?.addEventListener("abort", () => {
        const at = queue.indexOf(turn);
        if (at > 0) {
          queue.splice(at, 1);
          reject(new Error("AbortError"));
        }
      });
      queue.push(turn);
      if (queue.length === 1) void Promise.resolve().then(turn);
    });
  }

  /** The tab that holds a lock is gone, without a word. */
  crash(): void {
    for (const queue of this.#queues.values()) {
      queue.shift();
      void queue[0]?.();
    }
  }
}

/** A channel that can be silenced: its tab is gone. */
export class Wire extends BroadcastChannel {
  /** The one that was made last. */
  static newest: Wire | undefined;
  #isSilent = false;

  constructor(name: string) {
    super(name);
    Wire.newest = this;
  }

  override postMessage(message: unknown): void {
    if (!this.#isSilent) super.postMessage(message);
  }

  silence(): void {
    this.#isSilent = true;
    this.onmessage = () => {};
  }
}

/** A browser on which nothing is stored yet. */
export function browser(): { locks: Locks } {
  const locks = new Locks();
  vi.stubGlobal("BroadcastChannel", Wire);
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("IDBKeyRange", IDBKeyRange);
  vi.stubGlobal("navigator", { locks });
  return { locks };
}

/** Reads or changes what is stored, as nobody but a test may. */
export async function stored<T>(store: string, look: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const db = await new Promise<IDBDatabase>((resolve, reject) => {
    const opening = indexedDB.open("partysync");
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  return new Promise((resolve, reject) => {
    const request = look(db.transaction(store, "readwrite").objectStore(store));
    request.onsuccess = () => {
      db.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}
