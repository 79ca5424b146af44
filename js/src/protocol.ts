// Version 2 of the protocol as a client speaks it (SPEC section 8): JSON text frames, one object each, told apart by `type`.

import type { WireError } from "./error.js";

/** The WebSocket subprotocol that asks for version 2 (SPEC 8.2). */
export const SUBPROTOCOL = "partysync.v2";

/** The version's number in `hello`. */
export const VERSION = 2;

/** An action's JSON, in bytes (SPEC 11). Past it: `too_large`. */
export const ACTION_BYTES = 256 * 1024;

/** Open actions of a client: what a room remembers outcomes of (SPEC 9.9, 11). Past it: `busy`. */
export const OPEN_ACTIONS = 1_000;

/** Nesting of a frame's JSON (SPEC 11). */
export const JSON_DEPTH = 64;

/** Anything that JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A row's id: an integer or a text. */
export type Id = string | number;

/** A row as it travels: `id` first, and last of all `created_at`, `updated_at` and `deleted_at` (SPEC 3.2). */
export type Row = readonly [Id, ...Json[]];

/** The point of a room's history that a client holds (SPEC 2.3). */
export interface Cursor {
  readonly version: number;
  readonly stamp: number;
}

/** What a client sends. */
export type Up =
  | { readonly type: "hello"; readonly versions: readonly number[] }
  | {
      readonly type: "join";
      readonly room: string;
      readonly client: string;
      readonly cursor: Cursor | null;
      readonly born: number | null;
      readonly token?: string;
    }
  | {
      readonly type: "action";
      readonly room: string;
      readonly number: number;
      readonly channel: string;
      readonly action: Json;
    }
  | { readonly type: "have"; readonly room: string; readonly version: number; readonly number: number }
  | { readonly type: "message"; readonly room: string; readonly text: string }
  | { readonly type: "ping" }
  | { readonly type: "leave"; readonly room: string }
  | { readonly type: "token"; readonly room: string; readonly token: string };

export interface Welcome {
  readonly type: "welcome";
  /** The protocol version chosen. */
  readonly version: number;
  /** How many rooms this socket may carry. */
  readonly rooms: number;
  /** How often to send `ping`, in milliseconds. */
  readonly ping_ms: number;
  /** Patches after which to say what is held; 32 if absent. */
  readonly have_patches?: number | null;
  /** How long after that was last said it is to be said again if patches come, in milliseconds; 1,000 if absent. */
  readonly have_ms?: number | null;
  /** The largest frame that the server takes. */
  readonly frame_bytes: number;
}

export interface Joined {
  readonly type: "joined";
  readonly room: string;
  readonly version: number;
  readonly stamp: number;
  /** The room's version, if the snapshot is older: a patch to it follows the snapshot (SPEC 8.36). */
  readonly newest?: number | null;
  /** The highest number settled for this client. */
  readonly last: number;
  /** False if the room may have dropped the client. */
  readonly known: boolean;
  /** Whether a snapshot follows. */
  readonly reset: boolean;
  /** Each channel's columns, in the order of a row. */
  readonly channels: { readonly [channel: string]: readonly string[] };
}

export interface Snapshot {
  readonly type: "snapshot";
  readonly room: string;
  readonly channel: string;
  /** Not looked at yet: see {@link isRow}. */
  readonly rows: readonly Json[];
  readonly more: boolean;
}

export interface Changes {
  readonly channel: string;
  /** Not looked at yet: see {@link isRow}. */
  readonly puts: readonly Json[];
  /** Not looked at yet: see {@link isId}. */
  readonly deletes: readonly Json[];
}

export interface Patch {
  readonly type: "patch";
  readonly room: string;
  readonly from: number;
  readonly to: number;
  readonly stamp: number;
  readonly changes: readonly Changes[];
}

export interface Later {
  readonly type: "later";
  readonly room: string;
  readonly number: number;
  readonly after_ms: number;
  readonly error: WireError;
}

/** What a server sends. `unknown` is a message of a later minor version: to be ignored (SPEC 8.1). */
export type Down =
  | Welcome
  | Joined
  | Snapshot
  | Patch
  | Later
  | { readonly type: "ack"; readonly room: string; readonly number: number; readonly version: number }
  | { readonly type: "reject"; readonly room: string; readonly number: number; readonly error: WireError }
  | { readonly type: "error"; readonly room?: string | null; readonly error: WireError }
  | { readonly type: "message"; readonly room: string; readonly text: string }
  | { readonly type: "left"; readonly room: string; readonly error?: WireError | null }
  | { readonly type: "expires"; readonly room: string; readonly after_ms: number }
  | { readonly type: "pong" }
  | { readonly type: "unknown" };

export function encode(up: Up): string {
  return JSON.stringify(up);
}

/** Reads a text frame. Undefined: it is no message, or lacks what its type must have. Never throws. */
export function parse(text: string): Down | undefined {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(message) || typeof message.type !== "string") return undefined;
  const fields = Object.hasOwn(MESSAGES, message.type) ? MESSAGES[message.type] : undefined;
  if (fields === undefined) return { type: "unknown" };
  for (const field of fields.split(" ")) {
    const [name = "", mayBeAbsent] = field.split("?");
    const value = message[name];
    const isFine = (mayBeAbsent !== undefined && isNothing(value)) || (FIELDS[name] ?? isCount)(value);
    if (!isFine) return undefined;
  }
  return message as unknown as Down;
}

/** Whether this is a row: an array whose first element is an id. */
export function isRow(value: unknown): value is Row {
  return Array.isArray(value) && isId(value[0]);
}

export function isId(value: unknown): value is Id {
  return typeof value === "string" || Number.isSafeInteger(value);
}

export function isCursor(value: unknown): value is Cursor {
  return isObject(value) && isCount(value.version) && isCount(value.stamp);
}

export function isObject(value: unknown): value is { [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether this is an integer from 0 that JavaScript holds. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Whether a text opens more brackets than a frame may nest, `outer` of them around it. Brackets inside of strings don't count. */
export function isNestedTooDeep(text: string, outer: number): boolean {
  const inner = text.replace(/"(?:[^"\\]|\\.)*"/g, "");
  let depth = outer;
  for (const character of inner) {
    if (character === "[" || character === "{") depth += 1;
    else if (character === "]" || character === "}") depth -= 1;
    if (depth > JSON_DEPTH) return true;
  }
  return false;
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isFlag: Check = (value) => typeof value === "boolean";
const isNothing: Check = (value) => value === undefined || value === null;
const isList: Check = Array.isArray;
const isError: Check = (value) =>
  isObject(value) &&
  isText(value.code) &&
  isText(value.text) &&
  (isNothing(value.reason) || isText(value.reason)) &&
  ["client", "app", "server"].includes(value.fault as string) &&
  ["never", "later", "rejoin"].includes(value.retry as string);
const isColumns: Check = (value) =>
  isObject(value) && Object.values(value).every((columns) => Array.isArray(columns) && columns.every(isText));
const isChanges: Check = (value) =>
  Array.isArray(value) && value.every((c) => isObject(c) && isText(c.channel) && isList(c.puts) && isList(c.deletes));

/** What a field is, in whatever message; a count, if it is not here. */
const FIELDS: { readonly [field: string]: Check } = {
  type: isText,
  room: isText,
  channel: isText,
  text: isText,
  known: isFlag,
  reset: isFlag,
  more: isFlag,
  rows: isList,
  channels: isColumns,
  changes: isChanges,
  error: isError,
};

/** The fields of each message; one with `?` may be absent, or null. */
const MESSAGES: { readonly [type: string]: string } = {
  welcome: "version rooms ping_ms have_patches? have_ms? frame_bytes",
  joined: "room version stamp newest? last known reset channels",
  snapshot: "room channel rows more",
  patch: "room from to stamp changes",
  ack: "room number version",
  reject: "room number error",
  later: "room number after_ms error",
  error: "room? error",
  message: "room text",
  left: "room error?",
  expires: "room after_ms",
  pong: "type",
};
