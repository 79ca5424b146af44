// The vectors for clients in any language: every file of the folder is looked at, and one of an unknown kind is an error.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { Client } from "../src/client.js";
import { isClientId } from "../src/hex.js";
import { newId } from "../src/ids.js";
import { encode, type Json, parse, type Up } from "../src/protocol.js";
import { delay, isFinal } from "../src/redial.js";
import { check, type Dialogue, play } from "./support/dialogue.js";

const FOLDER = fileURLToPath(new URL("../../vectors/", import.meta.url));

type Part = string | { readonly repeat: string; readonly times: number };

interface Message {
  readonly name: string;
  readonly rule: string;
  readonly text: Part | readonly Part[];
  readonly means?: { readonly [field: string]: Json };
}

/** The fields of the messages, which is what of a frame counts. */
const FIELDS: { readonly [type: string]: string } = {
  welcome: "version rooms ping_ms have_patches have_ms frame_bytes",
  joined: "room version stamp newest last known reset channels",
  snapshot: "room channel rows more",
  patch: "room from to stamp changes",
  ack: "room number version",
  reject: "room number error",
  later: "room number after_ms error",
  error: "room error",
  message: "room text",
  pong: "",
  left: "room error",
  expires: "room after_ms",
  unknown: "",
};

function read<T>(file: string, ...fields: string[]): T {
  const vectors = JSON.parse(readFileSync(FOLDER + file, "utf8"));
  expect(Object.keys(vectors).filter((field) => !["version", "about", ...fields].includes(field))).toEqual([]);
  expect(vectors.version).toBe(2);
  return vectors;
}

function textOf(text: Message["text"]): string {
  const part = (p: Part) => (typeof p === "string" ? p : p.repeat.repeat(p.times));
  return typeof text === "object" && "map" in text ? text.map(part).join("") : part(text as Part);
}

/** What a frame says: unknown fields, and what may be absent and is null, are left out. */
function meaning(text: string): unknown {
  const down = parse(text) as unknown as { readonly [field: string]: unknown } | undefined;
  if (down === undefined) return undefined;
  const only = (object: { readonly [field: string]: unknown }, fields: string) =>
    Object.fromEntries(
      fields
        .split(" ")
        .flatMap((field) => (object[field] === undefined || object[field] === null ? [] : [[field, object[field]]])),
    );
  const said = only(down, `type ${FIELDS[String(down.type)]}`);
  if (said.error) said.error = only(said.error as object as never, "code reason text fault retry");
  if (said.changes) said.changes = (said.changes as never[]).map((c) => only(c, "channel puts deletes"));
  return said;
}

const MESSAGES = ["messages/down.json", "messages/up.json", "messages/v1.json"];
const KNOWN = ["README.md", "delays.json", "ids.json", "lock.json", ...MESSAGES];

const files = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`.replaceAll("//", "/").slice(FOLDER.length));
const dialogues = files.filter((file) => file.startsWith("dialogues/"));

test("there is no file of an unknown kind", () => {
  expect(files.filter((file) => !KNOWN.includes(file) && !dialogues.includes(file))).toEqual([]);
  for (const file of ["ids.json", "messages/down.json", "messages/up.json"]) expect(files).toContain(file);
});

test("SPEC 8.1: what a server sends is read as it is meant, or found to be no message", () => {
  const { valid, invalid } = read<{ valid: Message[]; invalid: Message[] }>("messages/down.json", "valid", "invalid");
  for (const { name, rule, text, means, ...more } of valid) {
    expect(more, name).toEqual({});
    if (means === undefined) expect(parse(textOf(text)), `${rule} ${name}`).toBeDefined();
    else expect(meaning(textOf(text)), `${rule} ${name}`).toEqual(means);
  }
  for (const { name, rule, text, ...more } of invalid) {
    expect(more, name).toEqual({});
    expect(parse(textOf(text)), `${rule} ${name}`).toBeUndefined();
  }
  expect(valid.length * invalid.length).toBeGreaterThan(0);
});

test("SPEC 8.1: what a client sends is written as it is meant", () => {
  const { valid } = read<{ valid: Message[] }>("messages/up.json", "valid", "invalid", "first");
  const meant = valid.flatMap(({ means }) => (means === undefined ? [] : [means]));
  for (const means of meant) expect(JSON.parse(encode(means as unknown as Up))).toEqual(means);
  expect(meant.length).toBeGreaterThan(0);
});

test("SPEC 8.6: actions that a room would not read are not sent", () => {
  const { invalid } = read<{ invalid: (Message & { answer: { reject?: string } })[] }>(
    "messages/up.json",
    "valid",
    "invalid",
    "first",
  );
  let refused = 0;
  for (const { name, text, answer } of invalid) {
    let frame: { action?: Json; number?: Json };
    try {
      frame = JSON.parse(textOf(text));
    } catch {
      continue;
    }
    if (answer.reject !== "too_large" && !/deep|level/.test(name)) continue;
    if (frame?.action === undefined) continue;
    const client = new Client("todos/lobby", new Uint8Array(16));
    const input = { now: 0, random: new Uint8Array(16) };
    const [effect] = client.handle(input, { type: "act", channel: "todos", action: frame.action, key: "" });
    expect(effect?.type, name).toBe("refused");
    refused += 1;
  }
  expect(refused).toBeGreaterThan(0);
});

test("SPEC 5.6, 8.5: ids are those that every client and server makes", () => {
  type Text = { readonly text: string };
  type NewId = { readonly client: string; readonly number: number; readonly index: number; readonly id: string };
  const ids = read<{ client_ids: Text[]; not_client_ids: Text[]; new_ids: NewId[] }>(
    "ids.json",
    "client_ids",
    "not_client_ids",
    "new_ids",
  );
  for (const { text } of ids.client_ids) expect(isClientId(text), text).toBe(true);
  for (const { text } of ids.not_client_ids) expect(isClientId(text), text).toBe(false);
  for (const { client, number, index, id } of ids.new_ids) expect(newId({ client, number, now: 0 }, index)).toBe(id);
});

test("SPEC 8.27: a client waits as long as it should before it opens another socket", () => {
  type Delay = {
    readonly code: number;
    readonly failures: number;
    readonly random: number;
    readonly ms: number | null;
  };
  const { delays } = read<{ delays: Delay[] }>("delays.json", "delays");
  for (const { code, failures, random, ms } of delays) {
    const waits = isFinal(code) ? null : Math.floor(delay(code, failures, random / 2 ** 32));
    expect(waits, `code ${code}, ${failures} failures, random ${random}`).toBe(ms);
  }
  expect(delays.length).toBeGreaterThan(30);
});

for (const file of dialogues) {
  const dialogue: Dialogue = JSON.parse(readFileSync(FOLDER + file, "utf8"));
  test(`SPEC ${dialogue.rules.join(", ")}: ${dialogue.name} (${file})`, () => {
    check(dialogue);
    if (dialogue.tests.includes("client")) for (const name of Object.keys(dialogue.clients)) play(dialogue, name);
  });
}
