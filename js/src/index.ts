// What the package gives: see README.md.

export type { Channel } from "./channel.js";
export { Client, type Effect, type Event, type Fate, type Input, type Pending, type State } from "./client.js";
export { Connection, type ConnectionOptions, connect } from "./connection.js";
export type { WireError } from "./error.js";
export type { SocketLike } from "./link.js";
export { roomOf } from "./own.js";
export type { Cursor, Id, Json, Row } from "./protocol.js";
export {
  type Accepted,
  type ChannelOptions,
  type Problem,
  Room,
  type Sent,
  type Settled,
  type Status,
} from "./room.js";
export { Table } from "./table.js";
export type { Token } from "./transport.js";
export type { Prediction, Reducer, Shape } from "./view.js";
