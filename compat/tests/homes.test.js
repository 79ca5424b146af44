// P11: one scenario, the same transcript from the native server and from Durable Objects, but for ids, times and stamps.

import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test } from "node:test";

import { fresh } from "../support/client.js";
import { Server } from "../support/server.js";
import { Wire, plain } from "../support/wire.js";

/** `listed`: pages of some origins may come in, and no others. */
const HOMES = {
  ours: ({ listed } = {}) => Server.ours(...(listed ? ["--origins", ...ORIGINS] : [])),
  worker: ({ listed } = {}) => Server.worker(listed ? "listed.capnp" : "config.capnp"),
};
const ORIGINS = ["https://example.com", "https://*.example.org"];
const TARGETS = (process.env.PARTYSYNC_TARGETS ?? "ours").split(",").filter((target) => target !== "original");
for (const target of TARGETS) {
  if (!(target in HOMES)) throw new Error(`PARTYSYNC_TARGETS: ${target} is no home of rooms`);
}

/** Longer than a room stays in memory that nobody uses: 10 s in both homes, and what a socket's first 5 s cause before. */
const SLEEP_MS = 20_000;

const ANN = "0a".repeat(16);
const BOB = "0b".repeat(16);

const line = (id, text = `text of ${id}`) => ({ type: "line", payload: { id, text } });
const verb = (type, payload) => ({ type, payload });
const sync = { channel: "lines", sync: true, from: null };

/** Runs a scenario in each home that is asked, at once, on data of its own, and compares what it tells. */
function alike(title, scenario, options) {
  test(title, async () => {
    const told = await Promise.all(
      TARGETS.map(async (target) => {
        const server = await HOMES[target](options);
        try {
          // The same name in each home: it is in the frames.
          return plain(await scenario(server, "chat/lobby"));
        } finally {
          await server.kill();
        }
      }),
    );
    for (const [at, transcript] of told.entries()) {
      assert.deepEqual(transcript, told[0], `${TARGETS[at]} (left) and ${TARGETS[0]} differ`);
    }
  });
}

/** What comes before `welcome` a client of version 2 ignores: it is there if the app's text left before the hello came (14.6). */
function sinceWelcome({ heard }) {
  return heard.slice(heard.findIndex((frame) => frame.type === "welcome"));
}

async function eventuallyTrue(fits) {
  for (const end = Date.now() + 30_000; !fits(); await sleep(5)) assert.ok(Date.now() < end, `it does not become true: ${fits}`);
}

/** Asks until the answer is as it should become, or for too long. */
async function eventually(server, path, fits, room = "hooked/lobby") {
  for (const end = Date.now() + 30_000; ; ) {
    const response = await fetch(`http://${server.host}/parties/${room}${path}`);
    const answer = await response.json();
    if (fits(answer)) return answer;
    assert.ok(Date.now() < end, `${path} does not become what it should: ${JSON.stringify(answer)}`);
    await sleep(200);
  }
}

async function get(server, path, options, room = "chat/lobby") {
  const response = await fetch(`http://${server.host}/parties/${room}${path}`, options);
  const body = await response.text();
  return { status: response.status, type: response.headers.get("content-type"), body: body.slice(0, 200) };
}

describe("both homes alike", { concurrency: 4 }, () => {
  alike("p11 a session of both versions: patches, updates, outcomes, duplicates", async (server, room) => {
    const ann = await Wire.join(server, room, ANN);
    const bob = await Wire.open(server, room, { query: "_pk=bob" });
    bob.send(sync);
    await bob.until((frame) => frame.sync);
    ann.act(1, line("a"));
    await bob.until((frame) => frame.type === "update");
    bob.call("x", line("b"), verb("say", "with an id of the engine's"));
    await ann.until((frame) => frame.to === 2);
    // Sent again: answered again, not run again.
    ann.act(1, line("a"));
    bob.call("x", line("b"), verb("say", "with an id of the engine's"));
    await bob.until((frame) => frame.type === "success");
    await bob.until((frame) => frame.type === "success");
    // Undone in the middle.
    ann.act(2, line("c"), verb("reject", "Not this one."));
    ann.act(3, line("a"));
    ann.act(4, verb("explode", 1));
    ann.act(6, line("gap"));
    ann.act(5, line("d"), line("e"));
    await ann.until((frame) => frame.type === "patch" && frame.to === 3);
    ann.act(2, line("c"));
    await ann.until((frame) => frame.type === "reject" && frame.number === 2);
    ann.send("nonsense");
    ann.send({ type: "nonsense" });
    ann.send({ type: "action", room: "chat/other", number: 7, channel: "lines", action: [] });
    ann.act(6, line("f"));
    await ann.until((frame) => frame.to === 4);
    ann.send({ type: "action", room, number: 7, channel: "lines", action: "x".repeat(257 << 10) });
    ann.send({ type: "leave", room });
    await ann.until((frame) => frame.type === "left");
    for (const frame of ["nonsense", "5", { id: 1, channel: "nope", action: [] }, { channel: "nope", sync: true }]) bob.send(frame);
    bob.call("last", line("g"));
    await bob.until((frame) => frame.id === "last");
    return [ann.heard, bob.heard];
  });

  alike("p5 a panic leaves no trace, and harms no other room and no other client", async (server, room) => {
    const [ann, bob] = await Promise.all([Wire.join(server, room, ANN), Wire.join(server, room, BOB)]);
    const other = await Wire.join(server, "chat/other", ANN);
    ann.act(1, line("a"), verb("panic"));
    await ann.until((frame) => frame.type === "reject");
    ann.act(2, line("a"), verb("starts"));
    await ann.until((frame) => frame.type === "message");
    await bob.until((frame) => frame.type === "patch");
    other.act(1, line("a"));
    await other.until((frame) => frame.type === "patch");
    const asked = [await get(server, "/panic"), await get(server, "/lines")];
    bob.act(1, line("b"));
    await ann.until((frame) => frame.to === 2);
    ann.act(1, line("a"));
    await ann.until((frame) => frame.type === "reject");
    return [ann.heard, bob.heard, other.heard, asked];
  });

  alike("spec_14: messages, tags, state, sockets that the app closes", async (server, room) => {
    const watcher = await Wire.open(server, room);
    watcher.send([verb("tag", ["watch", "more"]), verb("keep", "state ü"), verb("kept")]);
    await watcher.until((text) => text === 'Some("state ü") ["watch", "more"]');
    const ann = await Wire.join(server, room, ANN, { query: "token=ann&x=%C3%BC" });
    ann.send({ type: "message", room, text: JSON.stringify([verb("tell", ["watch", "from ann"]), verb("keep", "ann's")]) });
    await watcher.until((text) => text === "from ann");
    ann.send({ type: "message", room, text: "nothing that is taken" });
    await ann.until((frame) => frame.type === "error");
    ann.send(Buffer.from([1, 2, 3]));
    await ann.until((frame) => frame.type === "message");
    ann.act(1, verb("keep", "x".repeat(20 << 10)));
    await ann.until((frame) => frame.type === "reject");
    ann.act(2, line("a"), verb("close", [4001, "as you wish"]));
    await ann.until((frame) => frame.closed);
    await watcher.until((text) => String(text).startsWith("somebody left"));
    const binary = await Wire.join(server, room, BOB);
    binary.send(Buffer.from([7]));
    await binary.until((frame) => frame.closed);
    await watcher.until((text) => String(text).startsWith("somebody left"));
    const cut = await Wire.open(server, room);
    cut.cut();
    await watcher.until((text) => String(text).startsWith("somebody left"));
    return [watcher.heard, sinceWelcome(ann), binary.heard];
  });

  alike("spec_8_2: the subprotocol, and what is not hello", async (server, room) => {
    const protocols = ["other", "partysync.v2"];
    const ann = await Wire.open(server, room, { protocols, query: "token=ann" });
    ann.send({ type: "hello", versions: [2] });
    await ann.until((frame) => frame.type === "message");
    const bob = await Wire.open(server, room, { protocols });
    bob.send(sync);
    await bob.until((frame) => frame.closed);
    const old = await Wire.open(server, room);
    old.send({ type: "hello", versions: [1] });
    await old.until((frame) => frame.closed);
    const none = await Wire.open(server, room, { protocols: ["other"] }).catch(() => null);
    return [ann.heard, ann.socket.protocol, bob.heard, old.heard, none?.socket.protocol];
  });

  alike("spec_13: who is not let in", async (server, room) => {
    const refused = async (options) => {
      const wire = new Wire(server, room, options);
      await wire.until((frame) => frame.closed ?? frame.refused);
      return wire.heard;
    };
    return [
      await refused({ query: "token=bad" }),
      await refused({ query: "token=bad", origin: "https://example.com" }),
      await refused({ query: "token=bad", origin: "https://example.com", protocols: ["partysync.v2"] }),
      await refused({ query: "token=panic" }),
      await refused({ query: "token=nobody" }),
      await refused({ headers: { authorization: "Bearer bad" } }),
      await get(server, "/lines?token=bad"),
      await get(server, "/lines", { headers: { authorization: "Bearer panic" } }),
    ];
  });

  alike("spec_14_8: requests", async (server, room) => {
    const ann = await Wire.join(server, room, ANN);
    const post = (body, more = {}) => ({ method: "POST", body, ...more });
    const asked = [
      await get(server, "/lines"),
      await get(server, "/say", post("hello ü", { headers: { authorization: "Bearer ann" } })),
      await get(server, "/say", post("x".repeat((1 << 20) + 1))),
      await get(server, "/lines"),
      await get(server, "", { method: "DELETE" }),
      await get(server, "/reject"),
      await get(server, "/wrong"),
      await get(server, "/large"),
      await get(server, "/nothing/here"),
    ];
    await ann.until((frame) => frame.type === "message");
    return [asked, ann.heard];
  });

  alike("p12 a room that leaves memory finds its sockets again, and they see nothing of it", async (server, room) => {
    const ann = await Wire.join(server, room, ANN);
    const bob = await Wire.open(server, room, { query: "_pk=bob" });
    bob.send(sync);
    await bob.until((frame) => frame.sync);
    const silent = await Wire.open(server, room, { query: "token=silent" });
    const greeting = await Wire.open(server, room, { protocols: ["partysync.v2"] });
    const leaver = await Wire.open(server, room);
    leaver.send([verb("keep", "the leaver's"), verb("kept")]);
    await leaver.until((text) => String(text).includes("the leaver's"));
    ann.act(1, line("a"), verb("keep", "ann's"), verb("tag", ["watch"]), verb("starts"));
    await bob.until((frame) => frame.type === "update");
    await sleep(SLEEP_MS);
    // The end of a socket wakes the room, which knows whose it was.
    leaver.socket.close(4002);
    await ann.until((frame) => frame.text === `somebody left: Some(4002) Some("the leaver's")`);
    // On the sockets that slept.
    ann.act(2, line("b"), verb("kept"), verb("starts"));
    await ann.until((frame) => frame.text === "starts: 2");
    await bob.until((frame) => frame.type === "update");
    bob.call("x", line("c"), verb("tell", ["watch", "to who is tagged"]));
    await ann.until((frame) => frame.text === "to who is tagged");
    ann.act(1, line("a"));
    await ann.until((frame) => frame.type === "ack");
    silent.send({ type: "hello", versions: [2] });
    await silent.until((frame) => frame.type === "welcome");
    greeting.send(sync);
    await greeting.until((frame) => frame.closed);
    silent.socket.close(4000, "so long");
    await ann.until((frame) => String(frame.text).startsWith("somebody left: Some(4000)"));
    const { closed } = await silent.until((frame) => frame.closed);
    // Whether the reason is sent back is the platform's.
    return [ann.heard, bob.heard, silent.heard.slice(0, -1), closed, greeting.heard];
  });

  alike("p3 p4 p7 after a kill: what was answered is there, once, and resumes", async (server, room) => {
    const ann = await Wire.join(server, room, ANN);
    const bob = await Wire.open(server, room, { query: "_pk=bob" });
    // One after the other: what comes at once natively is one batch, with one patch.
    ann.act(1, line("a"));
    await ann.until((frame) => frame.type === "patch");
    ann.act(2, verb("reject", "No."));
    await ann.until((frame) => frame.type === "reject");
    bob.call("x", line("b"));
    await bob.until((frame) => frame.type === "success");
    await ann.until((frame) => frame.to === 2);
    const { cursor } = ann;
    bob.call("y", line("c"));
    await bob.until((frame) => frame.id === "y");
    await ann.until((frame) => frame.to === 3);
    await server.restart();
    const back = await Wire.join(server, room, ANN, { cursor, born: 0 });
    await back.until((frame) => frame.type === "patch");
    back.act(1, line("a"));
    await back.until((frame) => frame.type === "ack");
    back.act(2, verb("reject", "Something else."));
    await back.until((frame) => frame.type === "reject");
    back.act(3, line("d"));
    await back.until((frame) => frame.type === "patch");
    const again = await Wire.open(server, room, { query: "_pk=bob" });
    again.call("x", line("b"));
    await again.until((frame) => frame.id === "x");
    again.send(sync);
    await again.until((frame) => frame.sync);
    const foreign = await Wire.join(server, room, BOB, { cursor: { version: 2, stamp: 1 } });
    await foreign.until((frame) => frame.type === "snapshot");
    return [ann.heard.filter((frame) => frame.closed === undefined), back.heard, again.heard, foreign.heard];
  });

  alike("spec_7_6 an alarm rings, and after a restart without anybody there", async (server, room) => {
    const ann = await Wire.join(server, room, ANN);
    ann.act(1, verb("alarmIn", 300));
    await ann.until((frame) => frame.text === "ding");
    const heard = [...ann.heard];
    ann.act(2, verb("alarmIn", 2_000));
    await ann.until((frame) => frame.number === 2);
    await server.restart(() => sleep(2_500));
    await sleep(5_000);
    const opened = Date.now();
    const back = await Wire.join(server, room, ANN);
    const { rows } = await back.until((frame) => frame.type === "snapshot");
    const late = rows.filter((row) => opened - row[2] < 2_000);
    assert.deepEqual(late, [], "it rang only as somebody came");
    return [heard, rows.length, back.heard.length];
  });

  alike("spec_13_8 13_9 hooks before and after actions: who waits, who does not, and in which order", async (server) => {
    const room = "hooked/lobby";
    const [ann, bob] = await Promise.all([
      Wire.join(server, room, ANN, { query: "token=ann&x=7" }),
      Wire.join(server, room, BOB),
    ]);
    ann.act(1, line("a", "prepared"), verb("prepared"));
    await ann.until((frame) => String(frame.text).startsWith("prepared"));
    ann.act(2, line("b", "hook-refuses"));
    await ann.until((frame) => frame.number === 2);
    ann.act(3, line("b", "hook-panics"));
    await ann.until((frame) => frame.number === 3);
    ann.act(4, line("b", "hook-overdoes"));
    await ann.until((frame) => frame.number === 4);
    // Ann's own frames wait, in their order; nobody else's do.
    ann.act(5, line("c", "hook-waits"));
    // It waits as well, so that the two are no batch natively.
    ann.act(6, line("d", "hook-waits"));
    await eventually(server, "/waiting", (waiting) => waiting === 1);
    bob.act(1, line("e", "tell-fails"));
    await bob.until((frame) => frame.to === 2);
    await ann.until((frame) => frame.to === 2);
    const release = await get(server, "/release", { method: "POST" }, room);
    await Promise.all([ann, bob].map((wire) => wire.until((frame) => frame.to === 3)));
    await eventually(server, "/waiting", (waiting) => waiting === 1);
    await get(server, "/release", { method: "POST" }, room);
    await Promise.all([ann, bob].map((wire) => wire.until((frame) => frame.to === 4)));
    // Answered once, whatever the hook says now.
    ann.act(5, line("c", "hook-refuses"));
    await ann.until((frame) => frame.type === "ack" && frame.number === 5);
    // An action whose sender leaves while its hook runs is run all the same; and version 1 has hooks, too.
    const old = await Wire.open(server, room);
    old.call("x", line("f", "hook-waits"));
    await eventually(server, "/waiting", (waiting) => waiting === 1);
    old.socket.close(4000);
    bob.act(2, line("g"));
    await bob.until((frame) => frame.to === 5);
    await get(server, "/release", { method: "POST" }, room);
    await bob.until((frame) => frame.to === 6);
    const told = await eventually(server, "/told", (all) => all.length === 6);
    told.sort((a, b) => a[1] - b[1]);
    return [sinceWelcome(ann), bob.heard, release, told];
  });

  alike("spec_7_9 7_10 the outbox: in order, again when it fails, under the same key after a kill", async (server) => {
    const room = "hooked/lobby";
    const ann = await Wire.join(server, room, ANN);
    const post = (text, fails = 0) => verb("post", { text, fails });
    ann.act(1, post("first"), post("second"));
    ann.act(2, post("never"), verb("reject", "No."));
    ann.act(3, line("a"), post("fails once", 1));
    const once = await eventually(server, "/delivered", (all) => all.length === 4 && all.at(-1).arrives);
    ann.act(4, post("survives", 1));
    const before = await eventually(server, "/delivered", (all) => all.length === 5);
    await server.restart();
    // Nobody comes to its room. That it failed may not have been stored yet: then it fails once more.
    const tried = await eventually(server, "/delivered", (all) => all.at(-1)?.arrives, "hooked/other");
    const after = tried.slice(-1);
    assert.equal(after[0].key, before[4].key);
    assert.equal(once[2].key, once[3].key);
    const keys = new Set(before.map(({ key }) => key));
    assert.equal(keys.size, 4);
    const anonymous = (item) => ({ ...item, key: item.key.replace(/[0-9]+$/, "INDEX") });
    return [ann.heard.filter((frame) => frame.closed === undefined), [...before, ...after].map(anonymous)];
  });

  alike("spec_13_3 13_10 tokens: in a join, renewed while the room sleeps, and an admission that ends", async (server, room) => {
    const token = (name, ms) => `${name} until ${Date.now() + ms}`;
    const query = (text) => `x=7&token=${encodeURIComponent(text)}`;
    const ann = await Wire.join(server, room, ANN, { query: query("guest"), token: token("ann", 2 * SLEEP_MS) });
    ann.act(1, verb("who"));
    await ann.until((frame) => frame.type === "message");
    // Who is somebody else is not renewed, and out.
    const bob = await Wire.join(server, room, BOB, { query: query("bob") });
    bob.send({ type: "token", room, token: "eve" });
    await bob.until((frame) => frame.type === "left");
    bob.send({ type: "join", room, client: BOB, cursor: null, born: null, token: "bad" });
    await bob.until((frame) => frame.type === "left");
    bob.send({ type: "join", room, client: BOB, cursor: null, born: null });
    await bob.until((frame) => frame.type === "snapshot");
    bob.act(1, verb("who"));
    await bob.until((frame) => String(frame.text).startsWith("Some"));
    // One that ends, of each version, and one that nobody renews while its room sleeps.
    const [brief, old, asleep] = await Promise.all([
      Wire.join(server, room, "0c".repeat(16), { query: query(token("brief", 1_500)) }),
      Wire.open(server, room, { query: query(token("old", 1_500)) }),
      Wire.join(server, "chat/bedroom", "0d".repeat(16), { query: query(token("asleep", SLEEP_MS + 4_000)) }),
    ]);
    old.send(sync);
    await Promise.all([brief, old].map((wire) => wire.until((frame) => frame.closed)));
    asleep.send({ type: "have", room: "chat/bedroom", version: 0, number: 0 });
    // One that is told, by a room that slept, and renewed.
    await ann.until((frame) => frame.type === "expires");
    ann.send({ type: "token", room, token: token("ann", 4_000) });
    ann.act(2, verb("who"));
    await ann.until((frame) => frame.number === 2);
    const renewed = Date.now();
    await ann.until((frame) => frame.closed);
    assert.ok(Date.now() - renewed > 3_500, "it was renewed");
    await asleep.until((frame) => frame.closed);
    for (const frame of [...ann.heard, ...asleep.heard]) {
      if (frame.type === "expires") frame.after_ms = Math.round(frame.after_ms / 1_000);
    }
    return [...[ann, bob, brief, asleep].map(sinceWelcome), old.heard];
  });

  const otherOrigins = async (server, room) => {
    const asked = async (origin, method = "GET", more = {}) => {
      const headers = { ...(origin && { origin }), ...more };
      const response = await fetch(`http://${server.host}/parties/${room}/lines`, { method, headers });
      const told = ["allow-origin", "allow-credentials", "allow-methods", "allow-headers", "max-age"];
      const cors = told.map((name) => response.headers.get(`access-control-${name}`));
      return [response.status, response.headers.get("vary")?.includes("origin"), ...cors, await response.text()];
    };
    const wants = { "access-control-request-method": "PUT", "access-control-request-headers": "x-a, x-b" };
    const refused = async (origin) => {
      const wire = new Wire(server, room, { origin });
      const opened = new Promise((resolve) => wire.socket.once("open", () => resolve("open")));
      return Promise.race([opened, wire.until((frame) => frame.closed ?? frame.refused)]);
    };
    return [
      await asked(),
      await asked("https://example.com"),
      await asked("https://a.example.org"),
      await asked("https://evil.net"),
      await asked("https://example.com", "OPTIONS", wants),
      await asked("https://evil.net", "OPTIONS", wants),
      await asked("https://example.com", "OPTIONS"),
      await asked("https://example.com", "GET", { authorization: "Bearer bad" }),
      await refused("https://example.com"),
      await refused("https://example.org"),
    ];
  };
  alike("spec_13_6 13_7 pages of other origins, where some may come in", otherOrigins, { listed: true });
  alike("spec_13_6 13_7 pages of other origins, where any may", otherOrigins);
});

for (const target of TARGETS) {
  test(`p3 p4 killed under load: what was acked is there once, and so is what is sent again [${target}]`, async () => {
    const server = await HOMES[target]();
    try {
      const rooms = ["chat/one", "chat/two"];
      const clients = rooms.flatMap((room) => [0, 1, 2, 3].map((n) => ({ room, id: `${n}e`.repeat(16), acked: 0, sent: 0 })));
      for (let kills = 0; kills < 3; kills += 1) {
        const ends = [];
        for (const client of clients) {
          const wire = await Wire.join(server, client.room, client.id, { born: 0 });
          const send = (number) => wire.act(number, line(`${client.id.slice(0, 2)} ${number}`));
          // What has an unknown fate is sent again, then more and more, ten at a time on their way.
          for (let number = client.acked + 1; number <= client.sent; number += 1) send(number);
          wire.socket.on("message", (data) => {
            const { type, number } = JSON.parse(String(data));
            if (type !== "ack") return;
            // Thrown in here it would be nobody's.
            if (number !== client.acked + 1) client.fault ??= `${number} was acked behind ${client.acked}`;
            client.acked = number;
            while (client.sent < client.acked + 10) send((client.sent += 1));
          });
          if (client.sent === 0) send((client.sent = 1));
          ends.push(once(wire.socket, "close"));
        }
        const before = clients.map(({ acked }) => acked);
        await eventuallyTrue(() => clients.every(({ acked, fault }, at) => fault || acked > before[at] + 20 + 17 * kills));
        assert.deepEqual(clients.flatMap(({ fault }) => fault ?? []), []);
        await server.restart();
        await Promise.all(ends);
      }
      for (const room of rooms) {
        const of = clients.filter((client) => client.room === room);
        const settled = [];
        for (const client of of) {
          const wire = await Wire.join(server, room, client.id, { born: 0 });
          const { last } = wire.heard.find((frame) => frame.type === "joined");
          assert.ok(last >= client.acked && last <= client.sent, `acked ${client.acked}, has ${last}, sent ${client.sent}`);
          settled.push(last);
        }
        const watcher = await Wire.open(server, room);
        watcher.send(sync);
        const { payload: rows } = await watcher.until((frame) => frame.sync);
        const expected = of.flatMap(({ id }, at) => Array.from({ length: settled[at] }, (_, n) => `${id.slice(0, 2)} ${n + 1}`));
        assert.deepEqual(rows.map((row) => row[0]).sort(), expected.sort());
      }
    } finally {
      await server.kill();
    }
  });
}

if (TARGETS.includes("worker")) {
  for (const template of (process.env.PARTYSYNC_TEMPLATES ?? "").split(":")) {
    test(`the template for a new project serves a room: ${template.split("/").at(-1)}`, async () => {
      const server = await Server.template(template);
      try {
        const wire = await Wire.join(server, "notes/lobby", ANN);
        const action = { type: "add", payload: { id: "a", text: "hello" } };
        wire.send({ type: "action", room: "notes/lobby", number: 1, channel: "notes", action });
        const { changes } = await wire.until((frame) => frame.type === "patch");
        assert.deepEqual(changes[0].puts[0].slice(0, 2), ["a", "hello"]);
      } finally {
        await server.kill();
      }
    });
  }

  test("p3 where a panic aborts it ends its call and its socket: other sockets stay, and rooms wake in fresh memory", async () => {
    const server = await Server.worker("config.capnp", "PARTYSYNC_ABORT_BUNDLE");
    try {
      const [ann, bob] = await Promise.all([Wire.join(server, "chat/lobby", ANN), Wire.join(server, "chat/lobby", BOB)]);
      const other = await Wire.join(server, "chat/other", ANN);
      bob.act(1, line("a"));
      await ann.until((frame) => frame.type === "patch");
      ann.act(1, line("b"), verb("panic"));
      assert.deepEqual(await ann.until((heard) => heard.closed), { closed: 1011, reason: "The server failed." });
      for (const wire of [bob, other]) wire.act(wire === bob ? 2 : 1, line("c"));
      await bob.until((frame) => frame.type === "ack" && frame.number === 2);
      await other.until((frame) => frame.type === "patch");
      const again = await Wire.join(server, "chat/lobby", ANN);
      const { rows } = await again.until((frame) => frame.type === "snapshot");
      assert.deepEqual(rows.map(([id]) => id), ["a", "c"]);
      again.act(1, line("d"));
      await bob.until((frame) => frame.to === 3);
    } finally {
      await server.kill();
    }
  });

  test("p3 where a panic aborts no call that was under way leaves its client to wait: its socket is closed, too", async () => {
    const server = await Server.worker("config.capnp", "PARTYSYNC_ABORT_BUNDLE");
    try {
      const [idle, ann] = await Promise.all([Wire.join(server, "hooked/a", BOB), Wire.join(server, "hooked/a", ANN)]);
      const old = await Wire.open(server, "hooked/b");
      ann.act(1, line("a", "hook-waits"));
      old.call("first", line("b", "hook-waits"));
      await eventually(server, "/waiting", (waiting) => waiting === 2);
      const other = await Wire.join(server, "hooked/c", BOB);
      other.act(1, line("c", "hook-panics"));
      for (const wire of [other, ann, old])
        assert.deepEqual(await wire.until((heard) => heard.closed), { closed: 1011, reason: "The server failed." });
      idle.act(1, line("d"));
      await idle.until((frame) => frame.type === "ack" && frame.number === 1);
    } finally {
      await server.kill();
    }
  });

  test("spec_11_lane_queue on Durable Objects: as much waits behind a hook as may, and one frame more", async () => {
    const server = await Server.worker();
    try {
      const flood = async (frames) => {
        const wire = await Wire.open(server, "hooked/lobby");
        wire.call("first", line("a", "hook-waits"));
        await eventually(server, "/waiting", (waiting) => waiting === 1);
        for (let frame = 0; frame < frames; frame += 1) wire.send(sync);
        return wire;
      };
      const fits = await flood(128);
      await get(server, "/release", { method: "POST" }, "hooked/lobby");
      await fits.until((frame) => frame.id === "first");
      for (let frame = 0; frame < 128; frame += 1) await fits.until((frame) => frame.sync);
      const over = await flood(129);
      assert.equal((await over.until((frame) => frame.closed)).closed, 1013);
    } finally {
      await server.kill();
    }
  });

  test("spec_8_25 on Durable Objects: who does not say what it has is left out, and told once it does", async () => {
    const server = await Server.worker();
    try {
      const room = `chat/${fresh("room")}`;
      const [ann, slow] = await Promise.all([Wire.join(server, room, ANN), Wire.join(server, room, BOB)]);
      const text = "x".repeat(200_000);
      for (let number = 1; number <= 30; number += 1) {
        ann.act(number, line(`line ${number}`, text));
        const { version } = await ann.until((frame) => frame.number === number);
        await ann.until((frame) => frame.to === version);
        ann.send({ type: "have", room, version, number });
      }
      slow.send({ type: "message", room, text: "a sign" });
      await slow.until((frame) => frame.type === "error");
      const patches = slow.heard.filter((frame) => frame.type === "patch");
      // 4 MiB are 20 of these.
      assert.equal(patches.length, 20);
      const { version } = slow.cursor;
      slow.send({ type: "have", room, version: version - 1, number: 0 });
      slow.send({ type: "have", room, version, number: 0 });
      const missed = await slow.until((frame) => frame.type === "patch" && frame.to === 30);
      assert.deepEqual([missed.from, missed.changes[0].puts.length], [20, 10]);
      ann.act(31, line("last"));
      await slow.until((frame) => frame.to === 31);
    } finally {
      await server.kill();
    }
  });
}
