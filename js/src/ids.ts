// Ids that actions make, derived alike by client and server (SPEC 5.6): for predictions. An entry of its own, since few need it.

import { hex } from "./hex.js";
import type { Prediction } from "./view.js";

/**
 * The id that the server's `new_id` makes as the `index`-th of the action that is predicted, counted from 0; or made, if the action keeps
 * its number. An action that is sent again under another number makes others.
 */
export function newId(prediction: Prediction, index = 0): string {
  return idOf(seedOf(prediction.client, prediction.number), index);
}

/** @internal What the ids that an action makes are derived from: the client's id and the action's number. */
export function seedOf(client: string, number: number): Uint8Array {
  const bytes = new Uint8Array(24);
  for (let i = 0; i < 16; i++) bytes[i] = Number.parseInt(client.slice(2 * i, 2 * i + 2), 16);
  new DataView(bytes.buffer).setBigUint64(16, BigInt(number));
  return sha256(bytes);
}

/** @internal */
export function idOf(seed: Uint8Array, index: number): string {
  const bytes = new Uint8Array(36);
  bytes.set(seed);
  new DataView(bytes.buffer).setUint32(32, index);
  return hex(sha256(bytes).subarray(0, 16));
}

/** The first `count` primes, whose roots SHA-256 takes its constants from. */
function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

/** The first 32 bits of a number's fraction. */
function fraction(n: number): number {
  return ((n - Math.floor(n)) * 2 ** 32) | 0;
}

const PRIMES = primes(64);
const ROUND = PRIMES.map((prime) => fraction(Math.cbrt(prime)));
const START = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));

/** @internal SHA-256 (FIPS 180-4). The browser's own is asynchronous and missing on pages without TLS; a prediction can't wait. */
export function sha256(message: Uint8Array): Uint8Array {
  const blocks = Math.ceil((message.length + 9) / 64);
  const padded = new Uint8Array(blocks * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(message.length * 8));
  const state = Int32Array.from(START);
  for (let block = 0; block < blocks; block++) compress(state, view, block * 64);
  const digest = new DataView(new ArrayBuffer(32));
  for (const [i, word] of state.entries()) digest.setInt32(4 * i, word);
  return new Uint8Array(digest.buffer);
}

function compress(state: Int32Array, view: DataView, offset: number): void {
  const w = new Int32Array(64);
  for (let i = 0; i < 64; i++) {
    w[i] =
      i < 16
        ? view.getInt32(offset + 4 * i)
        : at(w, i - 16) + small(at(w, i - 15), 7, 18, 3) + at(w, i - 7) + small(at(w, i - 2), 17, 19, 10);
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; i++) {
    const t = (h + large(e, 6, 11, 25) + ((e & f) ^ (~e & g)) + (ROUND[i] ?? 0) + at(w, i)) | 0;
    const u = (large(a, 2, 13, 22) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t) | 0, c, b, a, (t + u) | 0];
  }
  for (const [i, word] of [a, b, c, d, e, f, g, h].entries()) state[i] = at(state, i) + word;
}

function at(words: Int32Array, i: number): number {
  return words[i] ?? 0;
}

function turn(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

function small(word: number, x: number, y: number, shift: number): number {
  return turn(word, x) ^ turn(word, y) ^ (word >>> shift);
}

function large(word: number, x: number, y: number, z: number): number {
  return turn(word, x) ^ turn(word, y) ^ turn(word, z);
}
