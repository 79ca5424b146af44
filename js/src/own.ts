// The room of a socket that the app made.

import type { SocketLike } from "./link.js";
import { Room, type RoomOptions } from "./room.js";
import { addressOf, OwnSocket } from "./transport.js";

const rooms = new WeakMap<SocketLike, Room>();

/**
 * The room of a socket: partysocket's, the browser's own or any like it. The socket must send nothing before, so that `hello` is the
 * first frame (SPEC 8.2). It throws if the socket's URL is no room's. Options count the first time.
 */
export function roomOf(socket: SocketLike, options?: RoomOptions): Room {
  let room = rooms.get(socket);
  if (room === undefined) {
    // partysocket has no URL before it is open, but knows its room's.
    const url = (socket as { roomUrl?: string }).roomUrl ?? socket.url;
    const address = addressOf(url);
    if (address === undefined) throw new Error(`This socket's URL is no room's: ${url || "(none yet)"}`);
    room = new Room(address.room, new OwnSocket(socket, address.server), options);
    rooms.set(socket, room);
  }
  return room;
}
