// Random bytes and ids in hex.

/** Lower-case hex digits. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** 16 bytes that nobody can guess. */
export function random(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}

/** Whether a text is 32 lower-case hex digits, as a client id is (SPEC 8.5). */
export function isClientId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}
