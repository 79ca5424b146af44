// Errors as they travel (SPEC section 10).

import type { ErrorCode, Fault, Retry } from "./errors.js";

/** An error as it travels (SPEC 10.1). */
export interface WireError {
  /** One of the catalogue; a later server may know more. */
  readonly code: ErrorCode | (string & {});
  /** The app's own code, with `rejected`. With a `not_allowed` that stands for a close, or a door's no: the close code (SPEC 10.1). */
  readonly reason?: string | null;
  /** Fit to be shown to a user. */
  readonly text: string;
  /** Who has to change something. */
  readonly fault: Fault;
  /** Whether sending the same again can help. */
  readonly retry: Retry;
}

/** Those that a client finds by itself, as the catalogue has them: all of it would be much for a page to load. */
export const OWN = {
  not_allowed: "You may not enter this room.",
  bad_action: "This action is not one the room knows.",
  too_large: "The message is larger than the room takes.",
  busy: "The room is busy. Try again soon.",
  client_unknown: "The room does not know this client any more.",
} as const satisfies Partial<Record<ErrorCode, string>>;

/** The close code, and the reason, that says that another token may be let in (SPEC 9.8). */
export const UNAUTHORIZED = 4401;

/** Whether the room may be entered with another token. */
export function isUnauthorized({ code, reason }: WireError): boolean {
  return code === "not_allowed" && reason === `${UNAUTHORIZED}`;
}

/** An error of the client's own finding, with the text that somebody else gave it, if any. */
export function errorOf(code: keyof typeof OWN, text = ""): WireError {
  const [fault, retry] = code === "busy" ? (["server", "later"] as const) : (["client", "never"] as const);
  return { code, text: text || OWN[code], fault, retry };
}
