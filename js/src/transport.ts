// How a room comes to a socket.

import { Link, type Rider, type SocketLike } from "./link.js";
import { BROKEN } from "./redial.js";

/** A socket's `readyState` when it is closed. */
const CLOSED = 3;

/** What proves who somebody is; a function is asked each time. */
export type Token = string | (() => string | null | Promise<string | null>);

/** Asks for it. */
export async function ask(token: Token | undefined): Promise<string | undefined> {
  return (typeof token === "function" ? await token() : token) ?? undefined;
}

/** Takes rooms on. */
export interface Transport {
  /** What tells this server from others: a part of the key under which a room is stored. */
  readonly server: string;
  /** What proves who this is, asked for before each join. */
  readonly token?: Token | undefined;
  /** Nothing will come of it any more. */
  readonly isOver: boolean;
  /** Says what is spoken here, though no room is entered yet. */
  greet?(): void;
  /** Brings a room to a socket, whenever there is one, until it is taken off. */
  add(rider: Rider): Ride;
}

/** A room's way to the server. */
export interface Ride {
  /** Nothing happens while the socket is not open. */
  send(frame: string): void;
  /** `room`: the room is brought to a socket again, others on this one go on. */
  reconnect(scope: "socket" | "room"): void;
  /** Nothing more is heard. */
  end(): void;
}

/** A socket of the app's own, such as partysocket's, for the one room of its URL. */
export class OwnSocket implements Transport {
  readonly server: string;
  readonly #socket: SocketLike;
  /** Made when it is needed: that a component renders sends nothing. */
  #link: Link | undefined;

  constructor(socket: SocketLike, server: string) {
    this.server = server;
    this.#socket = socket;
  }

  get isOver(): boolean {
    return this.#socket.readyState === CLOSED && this.#socket.shouldReconnect !== true;
  }

  greet(): void {
    this.#opened();
  }

  add(rider: Rider): Ride {
    const link = this.#opened();
    // 1000 is what the app's own close says, and that of a socket that opens again.
    const closed: Rider["closed"] = (code, reason) => rider.closed(code === 1000 ? BROKEN : code, reason);
    const own: Rider = { ...rider, closed };
    link.add(own);
    return {
      send: (frame) => link.send(frame),
      reconnect: (scope) => {
        if (scope === "socket") link.reconnect();
        else if (link.welcome !== undefined) rider.opened(link.welcome);
      },
      end: () => link.remove(own),
    };
  }

  #opened(): Link {
    if (this.#link === undefined) {
      const link = new Link(this.#socket);
      whenBack(() => link.probe());
      this.#link = link;
    }
    return this.#link;
  }
}

/** Calls back when the network may be back, or somebody looks at the page again. */
export function whenBack(back: () => void): void {
  if (typeof window === "undefined" || typeof document === "undefined") return;
  window.addEventListener("online", back);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && back());
}

/** `party/room` and the server of a room's URL, `.../parties/:party/:room` (SPEC 12.12). Undefined: it is no such URL. */
export function addressOf(url: string): { readonly server: string; readonly room: string } | undefined {
  try {
    const { host, pathname } = new URL(url);
    const segments = pathname.split("/").slice(1);
    const at = Math.max(segments.indexOf("parties"), 0);
    const [party, room] = segments.slice(at + 1);
    return party && room ? { server: host, room: `${party}/${room}` } : undefined;
  } catch {
    return undefined;
  }
}
