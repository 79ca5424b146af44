// What an app holds of a channel.

import type { Id } from "./protocol.js";
import type { Sent } from "./room.js";
import type { Source, View } from "./view.js";

/** What a channel needs of its room. */
export interface Host {
  source(): Source;
  /** The room is to be held while somebody listens. */
  use(): () => void;
  send(action: unknown): Sent;
}

/** One channel of a room, as an app shows it. */
export class Channel<R, A> {
  readonly #host: Host;
  readonly #view: View<R>;
  readonly #listeners = new Set<() => void>();
  readonly #rowListeners = new Map<Id, Set<() => void>>();

  /** @internal */
  constructor(host: Host, view: View<R>) {
    this.#host = host;
    this.#view = view;
  }

  /** The rows as the user is to see them: the same list until one of them changes, and the same row until it itself does. */
  get rows(): readonly R[] {
    this.#view.show(this.#host.source());
    return this.#view.rows;
  }

  /** The row with an id. */
  row(id: Id): R | undefined {
    this.#view.show(this.#host.source());
    return this.#view.row(id);
  }

  /** Calls back after each change of the list or of a row, until what it returns is called. The room is held meanwhile. */
  subscribe(listener: () => void): () => void {
    return this.#listen(this.#listeners, listener);
  }

  /** Calls back when this row changed, came or went, and not when others did. */
  subscribeRow(id: Id, listener: () => void): () => void {
    const listeners = this.#rowListeners.get(id) ?? new Set();
    this.#rowListeners.set(id, listeners);
    const stop = this.#listen(listeners, listener);
    return () => {
      stop();
      if (listeners.size === 0 && this.#rowListeners.get(id) === listeners) this.#rowListeners.delete(id);
    };
  }

  /** Asks for an action. It is shown at once, and sent as soon as the room can be reached. */
  send(action: A): Sent {
    return this.#host.send(action);
  }

  /** @internal The room changed. Returns whom to tell. */
  changed(): (() => void)[] {
    if (this.#listeners.size + this.#rowListeners.size === 0) return [];
    const ids = [...this.#rowListeners.keys()];
    const before = ids.map((id) => this.#view.row(id));
    if (!this.#view.show(this.#host.source())) return [];
    const told = [...this.#listeners];
    for (const [i, id] of ids.entries()) {
      if (this.#view.row(id) !== before[i]) told.push(...(this.#rowListeners.get(id) ?? []));
    }
    return told;
  }

  #listen(listeners: Set<() => void>, listener: () => void): () => void {
    // What is shown from here on is what changes are told against.
    this.#view.show(this.#host.source());
    const own = () => listener();
    listeners.add(own);
    const leave = this.#host.use();
    return () => {
      if (listeners.delete(own)) leave();
    };
  }
}
