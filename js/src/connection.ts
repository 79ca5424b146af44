// Rooms of one server on as few sockets as it allows.

import { Link, type Rider } from "./link.js";
import type { Down, Welcome } from "./protocol.js";
import { BROKEN, isFinal, Redial, type WebSocketClass } from "./redial.js";
import { Room, type RoomOptions } from "./room.js";
import { ask, type Ride, type Token, type Transport, whenBack } from "./transport.js";

export interface ConnectionOptions extends RoomOptions {
  /** What stands before party and room in a URL; `parties` unless the server says otherwise. */
  readonly prefix?: string;
  /**
   * Proves who this is, to the server's doors: a parameter of each URL, and a part of each join. A function is asked again before an
   * admission ends, and when a token was refused.
   */
  readonly token?: Token;
  /** Further parameters of the URL. */
  readonly query?: Readonly<Record<string, string>>;
  /** The class of sockets, where the platform has none: `ws` on Node 20. */
  readonly WebSocket?: unknown;
}

/** A socket, and the room of its URL. */
interface Line {
  readonly home: string;
  readonly redial: Redial;
  readonly link: Link;
}

/** A room, and where it is. */
interface Place {
  readonly rider: Rider;
  line: Line | undefined;
}

export class Connection implements Transport {
  readonly server: string;
  readonly token: Token | undefined;
  readonly #options: ConnectionOptions;
  readonly #base: string;
  readonly #WebSocket: WebSocketClass;
  readonly isOver = false;
  readonly #rooms = new Map<string, Room>();
  readonly #lines = new Set<Line>();
  /** In the order in which they came; those without a line wait to hear how many rooms a socket carries. */
  readonly #places = new Set<Place>();
  #capacity: number | undefined;

  /** `host` is `example.com`, `localhost:8787`, or with a scheme: `wss://example.com`. */
  constructor(host: string, options: ConnectionOptions = {}) {
    const { origin, server } = originOf(host);
    this.server = server;
    this.token = options.token;
    this.#options = options;
    this.#base = `${origin}/${options.prefix ?? "parties"}`;
    const sockets = options.WebSocket ?? globalThis.WebSocket ?? NoWebSocket;
    this.#WebSocket = sockets as WebSocketClass;
    whenBack(() => {
      for (const { redial, link } of this.#lines) {
        redial.hurry();
        link.probe();
      }
    });
  }

  /** A room. The same one for the same names, which may hold any characters. */
  room(party: string, room: string): Room {
    const name = `${encodeURIComponent(party)}/${encodeURIComponent(room)}`;
    const known = this.#rooms.get(name) ?? new Room(name, this, this.#options);
    this.#rooms.set(name, known);
    return known;
  }

  /** How many sockets it has. */
  get sockets(): number {
    return this.#lines.size;
  }

  add(rider: Rider): Ride {
    // But for what is about the line.
    const heard: Rider["heard"] = (down) => (isFull(down) ? this.#overfull(place) : rider.heard(down));
    const place: Place = { rider: { ...rider, heard }, line: undefined };
    this.#places.add(place);
    this.#put(place);
    return {
      send: (frame) => place.line?.link.send(frame),
      reconnect: (scope) => (scope === "socket" ? place.line?.redial.reconnect() : this.#move(place)),
      end: () => {
        this.#places.delete(place);
        this.#takeOff(place);
      },
    };
  }

  #put(place: Place): void {
    const line = [...this.#lines].find(({ link }) => link.rooms < (this.#capacity ?? 0));
    // The first socket will say how many rooms it carries.
    if (line === undefined && this.#capacity === undefined && this.#lines.size > 0) return;
    place.line = line ?? this.#dial(place.rider.room);
    place.line.link.add(place.rider);
  }

  #dial(home: string): Line {
    const redial = new Redial(() => this.#url(home), this.#WebSocket);
    // Before the link hears of it, and through it the rooms.
    redial.addEventListener("close", ({ code }) => this.#closed(line, code ?? BROKEN));
    const line: Line = { home, redial, link: new Link(redial, (welcome) => this.#welcomed(welcome)) };
    this.#lines.add(line);
    return line;
  }

  #welcomed(welcome: Welcome): void {
    this.#capacity = Math.max(welcome.rooms, 1);
    this.#putWaiting();
  }

  #closed(line: Line, code: number): void {
    const isRefused = isFinal(code);
    if (isRefused) {
      this.#lines.delete(line);
      if (this.#lines.size === 0) this.#capacity = undefined;
    }
    for (const place of this.#places) {
      const isOn = place.line === line;
      // It is the URL's room that may not be entered, not the others.
      if (isOn && isRefused && place.rider.room !== line.home) line.link.remove(place.rider);
      else if (isOn || place.line !== undefined) continue;
      place.line = undefined;
      place.rider.closed(BROKEN, "");
      if (isRefused) this.#put(place);
    }
  }

  #putWaiting(): void {
    for (const place of this.#places) if (place.line === undefined) this.#put(place);
  }

  /** The server takes fewer rooms on this socket than it said. */
  #overfull(place: Place): void {
    this.#capacity = Math.max(1, (place.line?.link.rooms ?? 2) - 1);
    this.#move(place);
  }

  #move(place: Place): void {
    this.#takeOff(place);
    this.#put(place);
  }

  #takeOff(place: Place): void {
    const { line } = place;
    if (line === undefined) return;
    place.line = undefined;
    line.link.remove(place.rider);
    if (line.link.rooms > 0) return;
    this.#lines.delete(line);
    line.redial.close();
  }

  async #url(room: string): Promise<string> {
    const home = [...this.#places].find(({ rider }) => rider.room === room)?.rider;
    // Without its own room a socket serves those that are left on it.
    const token = await (home === undefined ? ask(this.token) : home.proof());
    const query = new URLSearchParams({ ...this.#options.query, ...(token ? { token } : {}) }).toString();
    return `${this.#base}/${room}${query && `?${query}`}`;
  }
}

/** On a platform without: a page that is rendered on a server connects to nothing, but may not fail. */
class NoWebSocket {
  constructor() {
    throw new Error("There is no WebSocket here: hand one in, such as `ws` on Node 20.");
  }
}

function isFull(down: Down | undefined): boolean {
  return down?.type === "left" && down.error?.code === "too_many_rooms";
}

/** The origin for sockets, and what a server is called. A host without a scheme is asked with TLS, unless it is this machine. */
function originOf(host: string): { readonly origin: string; readonly server: string } {
  const isNamed = /^(ws|http)s?:\/\//.test(host);
  const isNear = /^(localhost|127\.|\[::1\])/.test(host);
  const url = new URL(isNamed ? host.replace(/^http/, "ws") : `${isNear ? "ws" : "wss"}://${host}`);
  return { origin: url.origin === "null" ? `${url.protocol}//${url.host}` : url.origin, server: url.host };
}

/** Rooms of one server, on as few sockets as it allows. Nothing is opened before a room is used. */
export function connect(host: string, options?: ConnectionOptions): Connection {
  return new Connection(host, options);
}
