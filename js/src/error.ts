// Errors as they travel (SPEC section 10), and those that a client finds by itself.

/** An error as it travels (SPEC 10.1). */
export interface WireError {
  /** One of SPEC's list; a later server may know more. */
  readonly code: string;
  /** The app's own code, with `rejected`. */
  readonly reason?: string | null;
  /** Fit to be shown to a user. */
  readonly text: string;
  /** Who has to change something. */
  readonly fault: "client" | "app" | "server";
  /** Whether sending the same again can help. */
  readonly retry: "never" | "later" | "rejoin";
}

function never(code: string, text: string): WireError {
  return { code, text, fault: "client", retry: "never" };
}

export const TOO_LARGE = never("too_large", "The message is larger than the room takes.");
export const BAD_ACTION = never("bad_action", "This action is not one the room knows.");
export const CLIENT_UNKNOWN = never("client_unknown", "The room does not know this client any more.");
export const OUTCOME_FORGOTTEN = "outcome_forgotten";

/** What a close that forbids to come back says (SPEC 8.27). */
export function refused(reason: string): WireError {
  return never("not_allowed", reason || "You may not enter this room.");
}
