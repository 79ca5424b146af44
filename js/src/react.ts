// The store in React: rows of a channel, one row, and how it stands with a room.

import { useCallback, useSyncExternalStore } from "react";

import type { Channel } from "./channel.js";
import type { SocketLike } from "./link.js";
import { roomOf } from "./own.js";
import type { Id } from "./protocol.js";
import { type ChannelOptions, IDLE, Room, type Sent, type Status } from "./room.js";
import type { Reducer } from "./view.js";

/** What names a room: itself, or the socket that it is on. */
export type Socket = Room | SocketLike;

type Options = Pick<ChannelOptions<never, never>, "rows" | "actions">;

/** What a page that is rendered on a server shows. */
const NOTHING: readonly never[] = Object.freeze([]);

/**
 * A channel's rows, kept up to date, and how to ask for an action. `reducer` shows an action before the room has run it; one that is
 * made outside of the component is run less often. With `{ rows: "objects" }` rows come as objects with the columns' names.
 */
export function useSync<R, A = unknown>(
  channel: string,
  socket: Socket,
  reducer?: Reducer<R, A>,
  options?: Options,
): [rows: readonly R[], send: (action: A) => Sent] {
  const held = useChannel(channel, socket, reducer, options);
  const subscribe = useCallback((listener: () => void) => held.subscribe(listener), [held]);
  const rows = useSyncExternalStore(
    subscribe,
    () => held.rows,
    () => NOTHING,
  );
  const room = roomAt(socket);
  const send = useCallback((action: A) => room.send(channel, action), [room, channel]);
  return [rows, send];
}

/** One row of a channel. The component is drawn again when this row changes, and not when others do. */
export function useRow<R, A = unknown>(
  channel: string,
  socket: Socket,
  id: Id,
  reducer?: Reducer<R, A>,
  options?: Options,
): R | undefined {
  const held = useChannel(channel, socket, reducer, options);
  const subscribe = useCallback((listener: () => void) => held.subscribeRow(id, listener), [held, id]);
  return useSyncExternalStore(
    subscribe,
    () => held.row(id),
    () => undefined,
  );
}

/** How it stands with the room: connected or not, what is pending, what went wrong. */
export function useStatus(socket: Socket): Status {
  const room = roomAt(socket);
  const subscribe = useCallback((listener: () => void) => room.subscribe(listener), [room]);
  return useSyncExternalStore(
    subscribe,
    () => room.status,
    () => IDLE,
  );
}

function useChannel<R, A>(
  channel: string,
  socket: Socket,
  reducer: Reducer<R, A> | undefined,
  options: Options | undefined,
): Channel<R, A> {
  return roomAt(socket).channel<R, A>(channel, { ...options, reducer });
}

function roomAt(socket: Socket): Room {
  return socket instanceof Room ? socket : roomOf(socket);
}
