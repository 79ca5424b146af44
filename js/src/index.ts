// What the package gives: see README.md.

export { Client, type Effect, type Event, type Fate, type Input, type Pending, type State } from "./client.js";
export type { WireError } from "./error.js";
export type { Cursor, Id, Json, Row } from "./protocol.js";
export { Table } from "./table.js";
