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
 * Whether a client comes back after a close code (SPEC 8.27): for the first row that has it, from and to, after so many
 * milliseconds at least and at first at most; not unchanged, if there are none. After any other code it does as after 1006.
 */
export const CLOSE_CODES: readonly (readonly [from: number, to: number, leastMs?: number, mostMs?: number])[] = [
  // done
  [1000, 1000],
  // not WebSocket
  [1002, 1002, 5000, 30000],
  // binary frame that the app does not take, on version 2
  [1003, 1003, 5000, 30000],
  // not UTF-8
  [1007, 1007, 5000, 30000],
  // not allowed
  [1008, 1008],
  // frame too large
  [1009, 1009, 5000, 30000],
  // the server's fault
  [1011, 1011, 5000, 30000],
  // overloaded
  [1013, 1013, 5000, 30000],
  // bad gateway
  [1014, 1014, 5000, 30000],
  // the client broke the protocol, or a door refused with 400
  [4400, 4400],
  // the room was deleted, or a door refused with 410
  [4410, 4410],
  // a door refused (13.4) with the status that is 4000 less
  [4401, 4499],
];

/** How long a client waits at first after a connection that broke, at most. */
export const USUAL_MS = 5000;

/** The longest that it ever waits. */
export const LONGEST_MS = 30000;

/** A socket that was open for so long is no failure. */
export const GOOD_MS = 5000;
