// A WebSocket that opens again by itself.

import { CLOSE_CODES, GOOD_MS, LONGEST_MS, USUAL_MS } from "./errors.js";
import type { Dialled, SocketLike } from "./link.js";
import { SUBPROTOCOL } from "./protocol.js";

/** Until a connection that neither opens nor fails is given up. */
const DIAL_MS = 15_000;

/** What a socket says that broke without a close. */
export const BROKEN = 1006;

/** Milliseconds from and to, at first; without both, never. */
function span(code: number): readonly [least?: number, most?: number] {
  const [, , ...times] = CLOSE_CODES.find(([from, to]) => from <= code && code <= to) ?? [0, 0, 0, USUAL_MS];
  return times;
}

/** Whether a close code says not to come back unchanged. */
export function isFinal(code: number): boolean {
  return span(code)[0] === undefined;
}

/** Milliseconds until the next try. The longest delay doubles with each failure in a row, so that the many who lost one server do not come back at once. */
export function delay(code: number, failures: number, random: number): number {
  const [least = LONGEST_MS, most = LONGEST_MS] = span(code);
  return least + random * (Math.min(LONGEST_MS, most * 2 ** failures) - least);
}

type Handler = (event: { code?: number; reason?: string; data?: unknown }) => void;

export type WebSocketClass = new (url: string, protocols: string[]) => SocketLike;

export class Redial implements Dialled {
  readonly #address: () => string | Promise<string>;
  readonly #WebSocket: WebSocketClass;
  readonly #handlers = new Map<string, Set<Handler>>();
  #socket: SocketLike | undefined;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #openedAt: number | undefined;
  /** Counts the sockets, so that what is late from an earlier one is not taken for the newest's. */
  #dial = 0;
  #isClosed = false;

  constructor(address: () => string | Promise<string>, WebSocket: WebSocketClass) {
    this.#address = address;
    this.#WebSocket = WebSocket;
    this.#wait(0);
  }

  get readyState(): number {
    return this.#socket?.readyState ?? (this.#isClosed ? 3 : 0);
  }

  send(data: string): void {
    this.#socket?.send(data);
  }

  close(code = 1000, reason = ""): void {
    this.#isClosed = true;
    this.#drop(code, reason);
  }

  /** Closes what is open, and opens another one at once. */
  reconnect(): void {
    this.#isClosed = false;
    this.#drop(1000, "");
    this.#wait(0);
  }

  /** Tries at once, if it is waiting: the network is back, or somebody looks. */
  hurry(): void {
    if (this.#socket === undefined && !this.#isClosed && this.#timer !== undefined) this.#wait(0);
  }

  addEventListener(type: string, handler: Handler): void {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers.add(handler));
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#open(), ms);
  }

  async #open(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const dial = ++this.#dial;
    const isCurrent = () => dial === this.#dial;
    try {
      const url = await this.#address();
      if (!isCurrent()) return;
      const socket = new this.#WebSocket(url, [SUBPROTOCOL]);
      this.#socket = socket;
      socket.addEventListener("open", () => isCurrent() && this.#opened());
      socket.addEventListener("message", (event) => isCurrent() && this.#emit("message", event));
      socket.addEventListener("close", (event) => isCurrent() && this.#lost(event.code, event.reason));
      // Node's sockets throw where nobody listens; `close` follows.
      socket.addEventListener("error", () => {});
      this.#timer = setTimeout(() => isCurrent() && this.#giveUp(), DIAL_MS);
    } catch (error) {
      if (isCurrent()) this.#lost(BROKEN, String(error));
    }
  }

  #opened(): void {
    clearTimeout(this.#timer);
    this.#openedAt = Date.now();
    this.#emit("open", {});
  }

  #giveUp(): void {
    this.#drop(1000, "no answer");
    this.#retry(BROKEN);
  }

  #lost(code: number, reason: string): void {
    this.#socket = undefined;
    this.#dial += 1;
    clearTimeout(this.#timer);
    if (isFinal(code)) this.#isClosed = true;
    if (!this.#isClosed) this.#retry(code);
    this.#emit("close", { code, reason });
  }

  #retry(code: number): void {
    if (this.#openedAt !== undefined && Date.now() - this.#openedAt > GOOD_MS) this.#failures = 0;
    this.#openedAt = undefined;
    this.#wait(delay(code, this.#failures, Math.random()));
    this.#failures += 1;
  }

  /** Lets go of the socket without waiting for its close. */
  #drop(code: number, reason: string): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dial += 1;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    socket.close(code, reason);
    this.#emit("close", { code: BROKEN, reason });
  }

  #emit(type: string, event: Parameters<Handler>[0]): void {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) handler(event);
  }
}
