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
  { from: 1000, to: 1000, meaning: "done", comeBack: "done" },
  { from: 1001, to: 1001, meaning: "the server's room moved", comeBack: [0, 5000] },
  { from: 1002, to: 1002, meaning: "not WebSocket", comeBack: [5000, 30000] },
  { from: 1003, to: 1003, meaning: "binary frame that the app does not take, on version 2", comeBack: [5000, 30000] },
  { from: 1006, to: 1006, meaning: "the connection broke", comeBack: [0, 5000] },
  { from: 1007, to: 1007, meaning: "not UTF-8", comeBack: [5000, 30000] },
  { from: 1008, to: 1008, meaning: "not allowed", comeBack: "unchanged" },
  { from: 1009, to: 1009, meaning: "frame too large", comeBack: [5000, 30000] },
  { from: 1011, to: 1011, meaning: "the server's fault", comeBack: [5000, 30000] },
  { from: 1012, to: 1012, meaning: "restart", comeBack: [0, 5000] },
  { from: 1013, to: 1013, meaning: "overloaded", comeBack: [5000, 30000] },
  { from: 1014, to: 1014, meaning: "bad gateway", comeBack: [5000, 30000] },
  { from: 4400, to: 4400, meaning: "the client broke the protocol, or a door refused with 400", comeBack: "unchanged" },
  { from: 4410, to: 4410, meaning: "the room was deleted, or a door refused with 410", comeBack: "unchanged" },
  { from: 4401, to: 4499, meaning: "a door refused (13.4) with the status that is 4000 less", comeBack: "unchanged" },
] as const;
