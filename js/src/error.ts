// Errors as they travel (SPEC section 10).

import { ERRORS, type ErrorCode, type Fault, type Retry } from "./errors.js";

/** An error as it travels (SPEC 10.1). */
export interface WireError {
  /** One of the catalogue; a later server may know more. */
  readonly code: ErrorCode | (string & {});
  /** The app's own code, with `rejected`. */
  readonly reason?: string | null;
  /** Fit to be shown to a user. */
  readonly text: string;
  /** Who has to change something. */
  readonly fault: Fault;
  /** Whether sending the same again can help. */
  readonly retry: Retry;
}

/** An error of the catalogue, with the text that somebody else gave it, if any. */
export function errorOf(code: ErrorCode, text = ""): WireError {
  return { code, ...ERRORS[code], text: text || ERRORS[code].text };
}
