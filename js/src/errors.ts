// Made by `cargo xtask generate` from the tables of crates/protocol. Not to be edited.

/** Who has to change something (SPEC 10.1). */
export type Fault = "client" | "app" | "server";

/** Whether sending the same again can help (SPEC 10.1). */
export type Retry = "never" | "later" | "rejoin";

/** The closed catalogue of errors (SPEC section 10). The texts are fit for a user. */
export const ERRORS = {
  rejected: { fault: "client", retry: "never", text: "This is not allowed." },
  bad_message: { fault: "client", retry: "never", text: "The message could not be understood." },
  bad_action: { fault: "client", retry: "never", text: "This action is not one the room knows." },
  unknown_channel: { fault: "client", retry: "never", text: "The room has no such channel." },
  not_joined: { fault: "client", retry: "rejoin", text: "Join the room first." },
  too_many_rooms: { fault: "client", retry: "never", text: "This connection carries as many rooms as it may." },
  number_gap: { fault: "client", retry: "rejoin", text: "An action before this one is missing." },
  outcome_forgotten: { fault: "client", retry: "never", text: "This action was settled too long ago to say how." },
  client_unknown: { fault: "client", retry: "never", text: "The room does not know this client any more." },
  client_taken: { fault: "client", retry: "never", text: "This client belongs to somebody else." },
  not_allowed: { fault: "client", retry: "never", text: "You may not enter this room." },
  not_found: { fault: "client", retry: "never", text: "The record does not exist." },
  duplicate: { fault: "client", retry: "never", text: "A record with this value exists already." },
  constraint: { fault: "client", retry: "never", text: "The change breaks a rule of the data." },
  value_unsupported: { fault: "client", retry: "never", text: "A value cannot be stored here." },
  too_large: { fault: "client", retry: "never", text: "The message is larger than the room takes." },
  too_many_rows: { fault: "client", retry: "never", text: "The action changes more records than it may." },
  action_too_long: { fault: "app", retry: "never", text: "The action took too long." },
  app_error: { fault: "app", retry: "never", text: "The action failed." },
  busy: { fault: "server", retry: "later", text: "The room is busy. Try again soon." },
  storage_full: { fault: "server", retry: "later", text: "The room cannot store anything at the moment." },
  storage_failed: { fault: "server", retry: "later", text: "The room cannot reach its storage at the moment." },
  format_newer: { fault: "server", retry: "later", text: "The room was written by a newer version of the server." },
} as const;

/** A code of the catalogue. */
export type ErrorCode = keyof typeof ERRORS;

/**
 * What a close code means (SPEC 8.27): for the first row that has it. Whether a client comes back after that: after a random
 * delay of this many milliseconds, from and to; `done`: it wanted to go; `unchanged`: not before something has changed.
 */
export const CLOSE_CODES = [
  // done
  { from: 1000, to: 1000, comeBack: "done" },
  // the server's room moved
  { from: 1001, to: 1001, comeBack: [0, 5000] },
  // not WebSocket
  { from: 1002, to: 1002, comeBack: [5000, 30000] },
  // binary frame that the app does not take, on version 2
  { from: 1003, to: 1003, comeBack: [5000, 30000] },
  // the connection broke
  { from: 1006, to: 1006, comeBack: [0, 5000] },
  // not UTF-8
  { from: 1007, to: 1007, comeBack: [5000, 30000] },
  // not allowed
  { from: 1008, to: 1008, comeBack: "unchanged" },
  // frame too large
  { from: 1009, to: 1009, comeBack: [5000, 30000] },
  // the server's fault
  { from: 1011, to: 1011, comeBack: [5000, 30000] },
  // restart
  { from: 1012, to: 1012, comeBack: [0, 5000] },
  // overloaded
  { from: 1013, to: 1013, comeBack: [5000, 30000] },
  // bad gateway
  { from: 1014, to: 1014, comeBack: [5000, 30000] },
  // the client broke the protocol, or a door refused with 400
  { from: 4400, to: 4400, comeBack: "unchanged" },
  // the room was deleted, or a door refused with 410
  { from: 4410, to: 4410, comeBack: "unchanged" },
  // a door refused (13.4) with the status that is 4000 less
  { from: 4401, to: 4499, comeBack: "unchanged" },
] as const;
