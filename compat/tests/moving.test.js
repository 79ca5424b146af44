// A room moves between homes as a file (SPEC 7.15), by the command: natively, to Durable Objects, and back. Without Durable Objects among
// PARTYSYNC_TARGETS it moves to another native server.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, describe, test } from "node:test";

import { partysync, started as begun } from "../support/command.js";
import { Server } from "../support/server.js";
import { Wire } from "../support/wire.js";

/** As `worker/config.capnp` has it. */
const TOKEN = "0123456789abcdef";
const ROOM = "todos/lobby";
const ANN = "0a".repeat(16);
const BOB = "0b".repeat(16);
const TRANSFER_BYTES = 32 << 20;

const TARGETS = (process.env.PARTYSYNC_TARGETS ?? "ours").split(",");
const HAS_WORKER = TARGETS.includes("worker");
const ELSEWHERE = HAS_WORKER ? "worker" : "ours";
/** As `describe` and `test`, for what only Durable Objects do. */
const onWorker = (define) => (HAS_WORKER ? define : () => {});

const HOMES = { ours: () => Server.ours("--admin", TOKEN), worker: () => Server.worker() };

const servers = [];
const started = async (home) => {
  const server = await HOMES[home]();
  servers.push(server);
  return server;
};
const folder = await mkdtemp(path.join(tmpdir(), "partysync-moving-"));
after(async () => {
  await Promise.all(servers.map((server) => server.kill()));
  await rm(folder, { recursive: true, force: true });
});

const of = (room) => ["--party", room.split("/")[0], "--room", room.split("/")[1]];
const done = ({ code, stderr }) => assert.equal(code, 0, stderr);

async function exported(server, room, name) {
  const file = path.join(folder, name);
  done(await partysync(TOKEN, "export", "--from", server.admin, ...of(room), file));
  return file;
}

async function imported(server, room, file, ...more) {
  done(await partysync(TOKEN, "import", "--to", server.admin, ...of(room), ...more, file));
}

/** A file of these lines, with the last one that belongs to them. */
function summed(lines) {
  const body = lines.map((line) => `${line}\n`).join("");
  const rows = lines.filter((line) => line.startsWith("[")).length;
  const sha256 = createHash("sha256").update(body).digest("hex");
  return `${body}${JSON.stringify({ end: true, rows, sha256 })}\n`;
}

/** Asks a home without the command. */
async function ask(server, method, where, { token = TOKEN, body } = {}) {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${server.admin}${where}`, { method, headers, body, duplex: "half" });
  return [response.status, (await response.text()).trim()];
}

const create = (id, text = `text of ${id}`) => ({ type: "create", payload: { id, text, completed: 0 } });
const act = (wire, number, action) => wire.send({ type: "action", room: wire.room, number, channel: "todos", action });

/** A room in which much was done; what Ann holds, who was sent no answer to her number 5, and what Bob sent in version 1. */
async function lived(server) {
  const ann = await Wire.join(server, ROOM, ANN);
  act(ann, 1, create("a"));
  await ann.until((frame) => frame.to === 1);
  act(ann, 2, create("a"));
  await ann.until((frame) => frame.type === "reject");
  act(ann, 3, create("b", "\u0000 \u2028 \"ü\" 😀"));
  await ann.until((frame) => frame.to === 2);
  act(ann, 4, { type: "delete", payload: { id: "a" } });
  await ann.until((frame) => frame.to === 3);
  const { cursor } = ann;
  ann.cut();
  const bob = await Wire.open(server, ROOM, { query: "_pk=bob" });
  bob.send({ id: "x", channel: "todos", rpc: true, action: create("c") });
  await bob.until((frame) => frame.id === "x");
  const late = await Wire.join(server, ROOM, ANN, { cursor, born: 0 });
  act(late, 5, create("d"));
  await late.until((frame) => frame.type === "ack" && frame.number === 5);
  late.cut();
  return cursor;
}

/** Ann and Bob come back: nobody is sent everything, and what was run is not run again. */
async function goesOn(server, room, cursor) {
  const ann = await Wire.join(server, room, ANN, { cursor, born: 0 });
  const joined = ann.heard.find((frame) => frame.type === "joined");
  assert.deepEqual([joined.reset, joined.last], [false, 5]);
  const missed = await ann.until((frame) => frame.type === "patch");
  assert.deepEqual([missed.from, missed.to], [3, 5]);
  assert.deepEqual(missed.changes.flatMap(({ puts }) => puts.map(([id]) => id)).sort(), ["c", "d"]);
  act(ann, 2, create("other"));
  const { error } = await ann.until((frame) => frame.type === "reject" && frame.number === 2);
  assert.equal(error.code, "duplicate");
  // Its answer was lost, so it is pending.
  act(ann, 5, create("d"));
  const ack = await ann.until((frame) => frame.type === "ack" && frame.number === 5);
  assert.equal(ack.version, 5);
  act(ann, 6, create("e"));
  assert.equal((await ann.until((frame) => frame.type === "patch")).to, 6);
  const bob = await Wire.open(server, room, { query: "_pk=bob" });
  bob.send({ id: "x", channel: "todos", rpc: true, action: create("c") });
  await bob.until((frame) => frame.id === "x");
  bob.send({ channel: "todos", sync: true, from: null });
  const { payload } = await bob.until((frame) => frame.sync);
  assert.deepEqual(payload.map(([id, text]) => [id, text]).sort(), [
    ["b", "\u0000 \u2028 \"ü\" 😀"],
    ["c", "text of c"],
    ["d", "text of d"],
    ["e", "text of e"],
  ]);
  assert.ok(!ann.heard.some((frame) => frame.type === "snapshot"), "everything was sent anew");
  ann.cut();
  bob.cut();
}

test(`spec_7_15 p4 p7 to another home [${ELSEWHERE}] and back: the same file, and whoever was there goes on`, async () => {
  const [ours, worker, again] = await Promise.all([started("ours"), started(ELSEWHERE), started("ours")]);
  const cursor = await lived(ours);
  const first = await exported(ours, ROOM, "first");
  await imported(worker, ROOM, first);
  const second = await exported(worker, ROOM, "second");
  await imported(again, ROOM, second);
  const third = await exported(again, ROOM, "third");
  const text = await readFile(first, "utf8");
  assert.equal(await readFile(second, "utf8"), text);
  assert.equal(await readFile(third, "utf8"), text);
  await goesOn(again, ROOM, cursor);
  await goesOn(worker, ROOM, cursor);
  // What was done there comes back, too, and the object that was asleep or gone is the room.
  await worker.restart();
  await imported(again, "todos/copy", await exported(worker, ROOM, "fourth"), "--rename");
  const ann = await Wire.join(again, "todos/copy", ANN, { cursor, born: 0 });
  await ann.until((frame) => frame.type === "patch" && frame.to === 6);
  again.check();
});

onWorker(test)("spec_7_15 7_6 on Durable Objects: an alarm that came with the file rings, with nobody there", async () => {
  const [ours, worker] = await Promise.all([started("ours"), started("worker")]);
  const ann = await Wire.join(ours, "chat/lobby", ANN);
  const alarmIn = { type: "alarmIn", payload: 4_000 };
  ann.act(1, alarmIn);
  await ann.until((frame) => frame.type === "ack");
  const file = await exported(ours, "chat/lobby", "alarm");
  await imported(worker, "chat/lobby", file);
  await sleep(6_000);
  const opened = Date.now();
  const back = await Wire.join(worker, "chat/lobby", ANN);
  const { rows } = await back.until((frame) => frame.type === "snapshot");
  assert.equal(rows.length, 1);
  assert.ok(opened - rows[0][2] > 1_000, "it rang only as somebody came");
});

onWorker(describe)("the admin routes of Durable Objects", () => {
  const where = `/rooms/${ROOM}/export`;
  const put = (body, more = "") => ["PUT", `${where}${more}`, { body }];

  test("without a secret there are none, and without the token nobody gets through", async () => {
    const [closed, open] = [await Server.worker("listed.capnp"), await started("worker")];
    servers.push(closed);
    for (const [method, path] of [["GET", where], ["PUT", where], ["DELETE", `/rooms/${ROOM}?confirm=lobby`]]) {
      assert.deepEqual(await ask(closed, method, path), [404, "There is nothing here."]);
      for (const token of [null, "", "0123456789abcdeF", "0123456789abcde", `${TOKEN}0`]) {
        assert.deepEqual(await ask(open, method, path, { token }), [401, "The token is missing or wrong."]);
      }
    }
  });

  test("what there is not, and what cannot be done", async () => {
    const worker = await started("worker");
    for (const [method, path, status] of [
      ["GET", where, 404],
      ["DELETE", `/rooms/${ROOM}?confirm=lobby`, 404],
      ["DELETE", `/rooms/${ROOM}`, 400],
      ["DELETE", `/rooms/${ROOM}?confirm=lobb`, 400],
      ["GET", "/rooms/nowhere/lobby/export", 404],
      ["GET", `/rooms/todos/${"x".repeat(513)}/export`, 414],
      ["GET", "/rooms/todos", 404],
      ["GET", `/rooms/${ROOM}`, 405],
      ["POST", where, 405],
      ["GET", `/rooms/${ROOM}/else`, 404],
      ["PUT", `${where}?replace=true`, 400],
      ["PUT", `${where}?rename=maybe`, 400],
    ]) {
      assert.equal((await ask(worker, method, path))[0], status, `${method} ${path}`);
    }
  });

  test("spec_7_16: who makes the room while its file is on its way keeps it", async () => {
    const worker = await started("worker");
    const first = await Wire.join(worker, "todos/source", ANN);
    act(first, 1, create("a"));
    await first.until((frame) => frame.to === 1);
    const whole = await readFile(await exported(worker, "todos/source", "slow"), "utf8");
    const headers = { authorization: `Bearer ${TOKEN}` };
    const upload = request(`${worker.admin}${where}?rename=true`, { method: "PUT", headers });
    const answered = once(upload, "response");
    upload.write(whole.slice(0, 200));
    // The object hears of the upload before it hears of the socket.
    await sleep(500);
    const bob = await Wire.join(worker, ROOM, BOB);
    upload.end(whole.slice(200));
    assert.equal((await answered)[0].statusCode, 409);
    act(bob, 1, create("bob's"));
    await bob.until((frame) => frame.to === 1);
    const text = await readFile(await exported(worker, ROOM, "bobs"), "utf8");
    assert.ok(text.includes("bob's") && !text.includes("text of a"));
  });

  test("spec_7_15: all of a file or nothing, and only where no room is", async () => {
    const worker = await started("worker");
    const first = await Wire.join(worker, "todos/source", ANN);
    for (const [at, id] of ["a", "b", "c"].entries()) act(first, at + 1, create(id));
    await first.until((frame) => frame.to === 3);
    const file = await readFile(await exported(worker, "todos/source", "source"), "utf8");
    const lines = file.split("\n");
    const refused = async (text, status, why, more = "?rename=true") => {
      const [found, said] = await ask(worker, ...put(text, more));
      assert.equal(found, status, said);
      assert.match(said, why);
      assert.equal((await ask(worker, "GET", where))[0], 404, "something is there");
    };
    await refused(file, 422, /^The file is the room todos\/source\. To make it the room todos\/lobby, add rename=true\.$/, "");
    for (const end of [0, 1, 4, Math.floor(lines.length / 2), lines.length - 2]) {
      await refused(lines.slice(0, end).join("\n"), 422, new RegExp(`^The file is not in order: line ${end + 1}: .*cut off`));
    }
    await refused(file.replace("text of b", "text of B"), 422, new RegExp(`line ${lines.length - 1}: .*changed`));
    await refused(Buffer.from([0xff, 0x0a]), 422, /no text/);
    await refused(file.replaceAll('"TEXT', '"TeXT').replace("CREATE TABLE", "CREATE TEMP TABLE"), 422, /^The file is not in order: line/);
    const noTable = lines.findIndex((line) => line.includes("CREATE TABLE secrets"));
    await refused(file.replace(/CREATE TABLE secrets/, "CREATE TABLE _secrets"), 422, new RegExp(`line ${noTable + 1}: not authorized`));
    await refused(`${"x".repeat(TRANSFER_BYTES)}\n`, 413, /larger than 32 MiB/);
    // The largest that may come is read, and found to be none.
    await refused("x".repeat(TRANSFER_BYTES), 422, /line 1: this is no room's file/);
    // Whole files whose rooms cannot be.
    const body = lines.slice(0, -2);
    const changed = (from, to) => summed(body.map((line) => line.replaceAll(from, to)));
    await refused(changed("completed", "finished"), 422, /^The file cannot be opened as a room: .*finished/);
    await refused(changed('"format",1', '"format",2'), 422, /^The file cannot be opened as a room: .*format 2/);
    const made = (object, sql) => summed([...body, JSON.stringify({ object, sql })]);
    const line = new RegExp(`^The file is not in order: line ${body.length + 1}: the app makes no such trigger`);
    await refused(made("trigger", "CREATE TRIGGER t AFTER INSERT ON todos BEGIN SELECT 1; END"), 422, line);
    await refused(made("table", "CREATE TABLE t (of REFERENCES todos DEFERRABLE INITIALLY DEFERRED)"), 422, /not authorized: DEFERRED/);
    await refused(made("trigger", "CREATE TRIGGER t AFTER INSERT ON todos BEGIN SELECT RAISE(ROLLBACK, 'no'); END"), 422, line);
    await refused(made("trigger", "CREATE TRIGGER t AFTER INSERT ON todos BEGIN DELETE FROM _log; END"), 422, line);
    const child = 'CREATE TABLE child ("of" INTEGER REFERENCES parent (id))';
    // Each row may refer to one of a table that comes later.
    const family = (parent) => {
      const sql = [child, "CREATE TABLE parent (id INTEGER PRIMARY KEY)"].map((sql) => JSON.stringify({ object: "table", sql }));
      const rows = [["child", ["of"], "[7]"], ["parent", ["id"], parent]];
      return summed([...body, ...sql, ...rows.flatMap(([table, columns, row]) => [JSON.stringify({ table, columns }), row])]);
    };
    await refused(family("[8]"), 422, /a row of the table child refers to one of parent that is not there/);
    assert.equal((await ask(worker, "PUT", "/rooms/todos/family/export?rename=true", { body: family("[7]") }))[0], 201);
    const again = await readFile(await exported(worker, "todos/family", "family"), "utf8");
    assert.ok(again.includes(JSON.stringify(child)), "the table was made in other words");
    // What was refused left nothing that keeps the room from coming now.
    assert.equal((await ask(worker, ...put(file, "?rename=true")))[0], 201);
    assert.deepEqual(await ask(worker, ...put(file, "?rename=true")), [409, "There is such a room. Delete it first."]);
    const ann = await Wire.join(worker, ROOM, ANN, { cursor: first.cursor, born: 0 });
    assert.equal(ann.heard.find((frame) => frame.type === "joined").reset, false);
    assert.equal((await ask(worker, ...put(file, "?rename=true")))[0], 409);

    // Deleted, it is gone for whoever was there; then another one may come.
    assert.equal((await ask(worker, "DELETE", `/rooms/${ROOM}?confirm=lobby`))[0], 200);
    assert.equal((await ann.until((frame) => frame.closed)).closed, 4410);
    assert.equal((await ask(worker, "GET", where))[0], 404);
    assert.equal((await ask(worker, ...put(file, "?rename=true")))[0], 201);
    const back = await Wire.join(worker, ROOM, ANN, { cursor: first.cursor, born: 0 });
    assert.equal(back.heard.find((frame) => frame.type === "joined").reset, false);
    await worker.restart();
    assert.equal((await ask(worker, "GET", where))[0], 200);
    assert.doesNotMatch(worker.stderr, /cannot be opened|panicked/);
  });
});

describe("the command", () => {
  const unfinished = async () => (await readdir(folder)).filter((name) => name.endsWith(".part") || name === "new");

  test("says what is wrong, with an exit code, and leaves no file that is not whole", async () => {
    const ours = await started("ours");
    await lived(ours);
    const file = await exported(ours, ROOM, "there");
    const before = await readFile(file);
    const from = ["export", "--from", ours.admin];
    for (const [code, why, token, ...args] of [
      [2, /there already/, TOKEN, ...from, ...of(ROOM), file],
      [2, /PARTYSYNC_ADMIN_TOKEN/, undefined, ...from, ...of(ROOM), path.join(folder, "new")],
      [2, /no URL/, TOKEN, "export", "--from", "localhost", ...of(ROOM), path.join(folder, "new")],
      [2, /percent-encoded/, TOKEN, ...from, "--party", "todos", "--room", "a b", path.join(folder, "new")],
      [3, /The token is missing or wrong\. \(401\)/, `${TOKEN}0`, ...from, ...of(ROOM), path.join(folder, "new")],
      [3, /There is no such room\. \(404\)/, TOKEN, ...from, ...of("todos/nowhere"), path.join(folder, "new")],
      [1, /127\.0\.0\.1:9\b/, TOKEN, "export", "--from", "http://127.0.0.1:9", ...of(ROOM), path.join(folder, "new")],
      [1, /^partysync: \S*nofolder.new: /, TOKEN, ...from, ...of(ROOM), path.join(folder, "nofolder", "new")],
      [3, /There is such a room\. .*, add --replace\. \(409\)/, TOKEN, "import", "--to", ours.admin, ...of(ROOM), file],
      [3, /To make it the room todos\/other, add --rename\. \(422\)/, TOKEN, "import", "--to", ours.admin, ...of("todos/other"), file],
      [1, /nofile/, TOKEN, "import", "--to", ours.admin, ...of(ROOM), path.join(folder, "nofile")],
    ]) {
      const ended = await partysync(token, ...args);
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr, why);
    }
    const half = path.join(folder, "half");
    await writeFile(half, before.subarray(0, before.length / 2));
    const refused = await partysync(TOKEN, "import", "--to", ours.admin, ...of("todos/half"), half);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /half: it was cut off, behind line/);
    assert.deepEqual(await readFile(file), before);
    done(await partysync(TOKEN, ...from, ...of(ROOM), "--force", file));
    const piped = await partysync(TOKEN, ...from, ...of(ROOM), "-");
    assert.deepEqual([piped.code, piped.stdout], [0, String(before)]);
    assert.deepEqual(await unfinished(), []);
  });

  test("what a server cut off, changed or never sent to its end becomes no file, nor does what was interrupted", async () => {
    const ours = await started("ours");
    await lived(ours);
    const whole = await readFile(await exported(ours, ROOM, "whole"));
    const half = whole.subarray(0, whole.length / 2);
    const answers = {
      torn: (answer) => answer.writeHead(200, { "content-length": whole.length }).write(half, () => answer.destroy()),
      short: (answer) => answer.writeHead(200).end(half),
      changed: (answer) => answer.writeHead(200).end(String(whole).replace("text of c", "text of C")),
      page: (answer) => answer.writeHead(200).end("<html></html>"),
      elsewhere: (answer) => answer.writeHead(302, { location: "http://127.0.0.1:9/" }).end(),
      slow: (answer) => answer.writeHead(200).write(half),
    };
    const server = createServer((request, answer) => answers[request.url.split("/")[1]](answer));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const from = (how) => ["export", "--from", `http://127.0.0.1:${server.address().port}/${how}`, ...of(ROOM)];
      for (const [how, code, why] of [
        ["torn", 1, /did not come to its end/],
        ["short", 1, /it was cut off, behind line/],
        ["changed", 1, /it was changed/],
        ["page", 1, /no room's file/],
        ["elsewhere", 3, /\(302\)/],
      ]) {
        const ended = await partysync(TOKEN, ...from(how), path.join(folder, "new"));
        assert.equal(ended.code, code, ended.stderr);
        assert.match(ended.stderr, why);
      }
      for (const signal of ["SIGINT", "SIGTERM"]) {
        const { child, ended } = begun(TOKEN, ...from("slow"), path.join(folder, "new"));
        for (const end = Date.now() + 20_000; (await unfinished()).length === 0; await sleep(5)) assert.ok(Date.now() < end);
        child.kill(signal);
        assert.equal((await ended).code, 130);
      }
      assert.deepEqual(await unfinished(), []);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  for (const home of new Set(["ours", ELSEWHERE])) {
    test(`a large file that is refused is not sent, and the server's words come through [${home}]`, async () => {
      const server = await started(home);
      const head = '{"partysync":"room","format":1,"room":"todos/lobby","version":0}';
      const large = path.join(folder, `large-${home}`);
      await writeFile(large, summed([head, ...Array.from({ length: 16 }, () => `["${"x".repeat(1 << 20)}"]`)]));
      const refused = await partysync(`${TOKEN}0`, "import", "--to", server.admin, ...of(ROOM), large);
      assert.deepEqual([refused.code, refused.stderr], [3, "partysync: The token is missing or wrong. (401)\n"]);
    });
  }
});
