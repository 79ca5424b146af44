import { createHash } from "node:crypto";

import { expect, test } from "vitest";

import { hex } from "../src/hex.js";
import { newId, sha256 } from "../src/ids.js";

test("SPEC 5.6: SHA-256 is what Node's is, for messages around each block's end", () => {
  for (const length of [0, 1, 3, 24, 36, 55, 56, 63, 64, 65, 119, 120, 1_000]) {
    const message = Uint8Array.from({ length }, (_, i) => (i * 31 + length) & 0xff);
    expect(hex(sha256(message)), String(length)).toBe(createHash("sha256").update(message).digest("hex"));
  }
});

test("SPEC 5.6: an id is derived from the client, the action's number and the index", () => {
  const client = "0123456789abcdef0123456789abcdef";
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(2n ** 40n);
  const seed = createHash("sha256")
    .update(Buffer.concat([Buffer.from(client, "hex"), number]))
    .digest();
  const index = Buffer.from([0, 0, 1, 2]);
  const id = createHash("sha256")
    .update(Buffer.concat([seed, index]))
    .digest("hex")
    .slice(0, 32);
  expect(newId({ client, number: 2 ** 40, now: 0 }, 258)).toBe(id);
});
