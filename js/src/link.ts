// A socket that speaks version 2, and the rooms that ride on it.

import { type Down, encode, parse, VERSION, type Welcome } from "./protocol.js";

/** What a link needs of a socket. */
export type Dialled = Pick<SocketLike, "readyState" | "send" | "close" | "addEventListener" | "reconnect">;

/** What is asked of a socket: the browser's own, partysocket's, and `ws` of Node are ones. */
export interface SocketLike {
  readonly readyState: number;
  readonly url: string;
  send(data: string): unknown;
  close(code?: number, reason?: string): void;
  /** Of sockets that open again by themselves: close this one, and open another. */
  reconnect?(): void;
  /** Whether it will. */
  readonly shouldReconnect?: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: each kind of socket has events of its own.
  addEventListener(type: string, listener: (event: any) => void): void;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  removeEventListener(type: string, listener: (event: any) => void): void;
}

/** A room on a link. */
export interface Rider {
  /** `party/room`. */
  readonly room: string;
  /** What proves who it is, to the door of the room that a URL names. Rejects if there is none that was not refused. */
  proof(): Promise<string | undefined>;
  /** The socket is open, and speaks version 2. */
  opened(welcome: Welcome): void;
  /** A frame came for this room, or for none. Undefined: it can't be read. */
  heard(down: Down | undefined): void;
  /** The socket is gone. */
  closed(code: number, reason: string): void;
}

/** Sockets are open in this `readyState`. */
const OPEN = 1;

/** Until a server that was greeted, or asked for a sign of life, is taken for dead. */
const ANSWER_MS = 10_000;

export class Link {
  readonly #socket: Dialled;
  readonly #riders = new Map<string, Rider>();
  #welcome: Welcome | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onWelcome: (welcome: Welcome) => void;

  constructor(socket: Dialled, onWelcome: (welcome: Welcome) => void = () => {}) {
    this.#socket = socket;
    this.#onWelcome = onWelcome;
    socket.addEventListener("open", this.#opened);
    socket.addEventListener("message", this.#heard);
    socket.addEventListener("close", this.#closed);
    if (socket.readyState === OPEN) this.#opened();
  }

  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get rooms(): number {
    return this.#riders.size;
  }

  /** Puts a room on it. */
  add(rider: Rider): void {
    this.#riders.set(rider.room, rider);
    if (this.#welcome !== undefined) rider.opened(this.#welcome);
  }

  remove(rider: Rider): void {
    if (this.#riders.get(rider.room) === rider) this.#riders.delete(rider.room);
  }

  /** Sends a frame, if the socket is open: one that queues would send it before `hello` (SPEC 8.2). */
  send(frame: string): void {
    if (this.#welcome !== undefined && this.#socket.readyState === OPEN) this.#socket.send(frame);
  }

  /** Closes the socket; it opens again if it is one that does. */
  reconnect(): void {
    if (this.#socket.reconnect === undefined) this.#socket.close();
    else this.#socket.reconnect();
  }

  /** Closes the socket for good. */
  close(): void {
    this.#socket.close(1000);
  }

  /** Asks for a sign of life: after sleep, or on another network, a socket may be dead without knowing. */
  probe(): void {
    if (this.#welcome === undefined || this.#socket.readyState !== OPEN) return;
    this.send(encode({ type: "ping" }));
    this.#expect();
  }

  readonly #opened = (): void => {
    this.#welcome = undefined;
    this.#socket.send(encode({ type: "hello", versions: [VERSION] }));
    this.#expect();
  };

  readonly #heard = ({ data }: { data: unknown }): void => {
    clearTimeout(this.#timer);
    if (typeof data !== "string") return;
    const down = parse(data);
    if (this.#welcome === undefined) {
      // Before it there may be texts of the app, which come again (SPEC 14.6).
      if (down?.type === "welcome") this.#welcomed(down);
      return;
    }
    const room = down !== undefined && "room" in down ? down.room : undefined;
    if (typeof room === "string") this.#riders.get(room)?.heard(down);
    else for (const rider of [...this.#riders.values()]) rider.heard(down);
  };

  #welcomed(welcome: Welcome): void {
    this.#welcome = welcome;
    for (const rider of [...this.#riders.values()]) rider.opened(welcome);
    // Rooms that are put on it now hear it as they are.
    this.#onWelcome(welcome);
  }

  readonly #closed = ({ code, reason }: { code?: number; reason?: string }): void => {
    clearTimeout(this.#timer);
    this.#welcome = undefined;
    for (const rider of [...this.#riders.values()]) rider.closed(code ?? 1006, reason ?? "");
  };

  #expect(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.reconnect(), ANSWER_MS);
  }
}
