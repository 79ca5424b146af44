// What clients of version 1 rely on, seen on the wire (docs/version-1.md). Where the model of the original does the same, it
// is asked too.

import assert from "node:assert/strict";

import { Client, fresh } from "../support/client.js";
import { ours, same, suite } from "../support/compare.js";
import { status } from "../support/http.js";

const todo = (id) => ({ id, text: `text of ${id}`, completed: 0 });
const ids = (rows) => rows.map((row) => row[0]).sort();

/** Numbers below `choices`, the same for a seed. */
function dice(seed) {
  let state = BigInt(seed);
  return (choices) => {
    // Knuth's MMIX generator; its upper bits are the good ones.
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(choices));
  };
}

/** What JavaScript takes for false. */
const NOTHING = [null, 0, "", false];
/** Whatever else a store may hold. */
const SOMETHING = [
  "2026-11-23 01:47:34",
  "2026-11-23T01:47:34.000Z",
  "x",
  1,
  -1,
  1.5,
  1e300,
  -1e300,
  Number.MAX_SAFE_INTEGER,
  12345678901234567890,
  [],
  [1, ["2"]],
  {},
  { from: { from: null } },
];

suite("seen on the wire", () => {
  same("an answer to an action has type, rpc, channel, id and result; what others hear, the same rows", async (server) => {
    const room = fresh("room");
    const [ann, bob] = await Promise.all([Client.open(server, room), Client.open(server, room)]);
    await bob.sync();
    const { result, ...rest } = await ann.act("create", todo("a"), { id: "12345678" });
    assert.deepEqual(rest, { type: "success", rpc: true, channel: "todos", id: "12345678" });
    const [update] = await bob.heard();
    assert.deepEqual(update, { broadcast: true, type: "update", channel: "todos", payload: result });
    assert.deepEqual(await ann.sync(), { sync: true, channel: "todos", payload: result });
  });

  same("a row is its columns in order, and last the three times; a deleted one has the last", async (server) => {
    const client = await Client.open(server, fresh("room"));
    const [id, text, completed, createdAt, updatedAt, deletedAt, ...more] = await client.create("a", "Milk");
    assert.deepEqual([id, text, completed, deletedAt, more], ["a", "Milk", 0, null, []]);
    assert.equal(updatedAt, createdAt);
    const updated = await client.update("a", "Tea");
    assert.deepEqual(updated.slice(0, 4), ["a", "Tea", 1, createdAt]);
    assert.ok(updated[4] >= updatedAt);
    const deleted = await client.delete("a");
    assert.deepEqual([deleted[0], deleted.length], ["a", 6]);
    assert.ok(deleted[5] >= updated[4]);
  });

  ours("times are integers, milliseconds since 1970, and grow with each change", async (server) => {
    const client = await Client.open(server, fresh("room"));
    const before = Date.now();
    const times = [];
    for (let i = 0; i < 20; i += 1) times.push((await client.create(fresh("todo")))[4]);
    assert.ok(times.every((time, i) => Number.isInteger(time) && (i === 0 || time > times[i - 1])), String(times));
    // The clock may have been set back a little meanwhile.
    assert.ok(Math.abs(times[0] - before) < 60_000, `${times[0]} at ${before}`);
  });

  same("from null, 0, an empty text or false is a client that holds nothing", async (server) => {
    const client = await Client.open(server, fresh("room"));
    await client.create("gone");
    await client.delete("gone");
    const row = await client.create("a");
    for (const from of NOTHING) {
      const answer = await client.answer({ channel: "todos", sync: true, from });
      assert.deepEqual(answer, { sync: true, channel: "todos", payload: [row] }, JSON.stringify(from));
    }
    assert.deepEqual((await client.answer({ channel: "todos", sync: true })).payload, [row], "and so is none");
  });

  same("from may be the text of a time, and whatever else: a sync is answered by one", async (server) => {
    const client = await Client.open(server, fresh("room"));
    await client.create("a");
    for (const from of SOMETHING) {
      const { sync, channel, payload } = await client.answer({ channel: "todos", sync: true, from });
      assert.deepEqual({ sync, channel }, { sync: true, channel: "todos" }, JSON.stringify(from));
      assert.ok(Array.isArray(payload));
    }
  });

  ours("from that is no time of this room brings the whole channel, and all deletions in front of it", async (server) => {
    const client = await Client.open(server, fresh("room"));
    await client.create("gone");
    const early = await client.create("a");
    await client.delete("gone");
    const late = await client.create("b");
    const near = [late[4] + 0.5, late[4] + 1e6, String(late[4]), [late[4]]];
    for (const from of [...SOMETHING, ...near, true]) {
      client.send({ channel: "todos", sync: true, from });
      const [update, answer, ...more] = await client.heard();
      assert.deepEqual(answer, { sync: true, channel: "todos", payload: [early, late] }, JSON.stringify(from));
      assert.deepEqual([update.type, ids(update.payload), more], ["update", ["gone"], []], JSON.stringify(from));
    }
  });

  ours("from that is a time of this room brings what changed then or later", async (server) => {
    const client = await Client.open(server, fresh("room"));
    const rows = [];
    for (const id of ["a", "b", "c"]) rows.push(await client.create(id));
    for (const [i, row] of rows.entries()) {
      const { payload } = await client.answer({ channel: "todos", sync: true, from: row[4] });
      assert.deepEqual(payload, rows.slice(i));
    }
  });

  same("rpc may be missing, and whatever else is there is ignored", async (server) => {
    const client = await Client.open(server, fresh("room"));
    const action = { type: "create", payload: todo("a") };
    const answer = await client.answer({ id: "x", channel: "todos", action, more: [1] });
    assert.deepEqual([answer.type, answer.rpc, answer.id], ["success", true, "x"]);
  });

  same("id is echoed as it came, whatever its type", async (server) => {
    const client = await Client.open(server, fresh("room"));
    // So that nothing is volunteered to it, however long this takes (SPEC 12.11).
    await client.sync();
    for (const id of [7, -1, 0, 1.5, "", "x", "ü", null, true, [1, "2"], { a: null }, Number.MAX_SAFE_INTEGER]) {
      for (const [type, want] of [["create", "success"], ["create", "error"]]) {
        // Twice the same todo: the second is an error. The call's id is `null` or used once.
        const payload = todo(`todo of ${JSON.stringify(id)}`);
        const echo = want === "success" ? id : [id];
        const answer = await client.answer({ id: echo, channel: "todos", rpc: true, action: { type, payload } });
        assert.deepEqual([answer.type, answer.id], [want, echo]);
      }
    }
  });

  ours("id is echoed to the letter, a number that JavaScript cannot hold too", async (server) => {
    const client = await Client.open(server, fresh("room"));
    // So that nothing is volunteered to it, however long this takes (SPEC 12.11).
    await client.sync();
    for (const id of ["12345678901234567890", "1.0", "1e400", "-0", '"\\u0041"', '{"b":1,"a":2}']) {
      await client.answer(`{"id":${id},"channel":"todos","action":{"type":"delete","payload":{"id":"x"}}}`);
      assert.ok(client.texts.at(-2).includes(`"id":${id},`), `${id}: ${client.texts.at(-2)}`);
    }
  });

  same("answers come in the order in which the actions were sent, errors among them", async (server) => {
    const client = await Client.open(server, fresh("room"));
    const calls = [];
    for (let i = 0; i < 300; i += 1) {
      // Each third todo is there already.
      const payload = todo(i % 3 === 2 ? `todo ${i - 1}` : `todo ${i}`);
      calls.push([client.call("create", payload), i % 3 === 2 ? "error" : "success"]);
    }
    const answers = [];
    for (const _ of calls) {
      const { id, type } = await client.next("an answer");
      answers.push([id, type]);
    }
    assert.deepEqual(answers, calls);
  });

  same("a sender hears its answer no later than others hear of the change", async (server) => {
    const room = fresh("room");
    const [ann, bob] = await Promise.all([Client.open(server, room), Client.open(server, room)]);
    await Promise.all([ann.sync(), bob.sync()]);
    for (let round = 0; round < 50; round += 1) {
      const call = ann.call("create", todo(fresh("todo")));
      await bob.next("the change", (frame) => frame.broadcast);
      // Whatever this causes is behind what caused it.
      await bob.create(fresh("todo"));
      const { id } = await ann.next("the answer, and no update before it");
      assert.equal(id, call);
      assert.equal((await ann.next("the other's change")).broadcast, true);
    }
  });

  ours("a success has a result and an update a payload, whatever the action did", async (server) => {
    const room = fresh("room");
    const [ann, bob] = await Promise.all([Client.open(server, room), Client.open(server, room)]);
    await bob.sync();
    await ann.create("a");
    assert.deepEqual((await ann.act("delete", { id: "nobody" })).result, [], "it changed nothing");
    assert.deepEqual((await ann.act("createAll", { todos: [] })).result, []);
    assert.deepEqual(ids((await ann.act("createAll", { todos: [todo("b"), todo("c")] })).result), ["b", "c"]);
    await ann.delete("a");
    const heard = await bob.heard();
    assert.deepEqual(heard.map((frame) => ids(frame.payload)), [["a"], ["b", "c"], ["a"]]);
  });

  same("any Origin is let in", async (server) => {
    for (const origin of ["https://example.com", "null", "http://127.0.0.1:1"]) {
      const client = await Client.open(server, fresh("room"), "", { origin });
      assert.deepEqual((await client.sync()).payload, []);
    }
  });

  same("_pk may be missing or empty, and other parameters may be there", async (server) => {
    const room = fresh("room");
    const queries = ["", "_pk=", "_pk", "_pk=a&token=b", "token=b&_pk=%2F%00", "x"];
    const clients = await Promise.all(queries.map((query) => Client.open(server, room, query)));
    for (const [i, client] of clients.entries()) {
      // The same id of a call each time: without `_pk` nobody is the same client.
      const { type } = await client.act("create", todo(`todo ${i}`), { id: "call" });
      assert.equal(type, "success", queries[i]);
    }
    assert.equal((await clients[0].sync()).payload.length, queries.length);
  });

  same("what follows the room in the path is ignored", async (server) => {
    const room = fresh("room");
    const short = await Client.open(server, room);
    await short.sync();
    for (const more of ["/", "/more", "/more/segments"]) {
      const long = await Client.open(server, room + more);
      const row = await long.create(fresh("todo"));
      assert.deepEqual((await short.heard()).map((frame) => frame.payload), [[row]], more);
    }
  });

  same("a room is its name as it stands in the path, not decoded", async (server) => {
    const name = fresh("room");
    const [plain, encoded] = [await Client.open(server, `${name}b`), await Client.open(server, `${name}%62`)];
    await plain.create("a");
    assert.deepEqual((await encoded.sync()).payload, []);
  });

  same("statuses: 400 for an unknown party, 404 for too short a path and for HTTP without a handler", async (server) => {
    const room = fresh("room");
    for (const party of ["nope", "Todos", "TODOS", "to-dos"]) {
      assert.equal(await status(server, `/parties/${party}/${room}`), 400, party);
      assert.equal(await status(server, `/parties/${party}/${room}`, { upgrade: true }), 400, party);
    }
    for (const path of ["/", "/parties", "/parties/", "/parties/todos", "/parties/todos/", "/nope/todos/x"]) {
      assert.equal(await status(server, path), 404, path);
      assert.equal(await status(server, path, { upgrade: true }), 404, path);
    }
    for (const path of [`/parties/todos/${room}`, `/parties/todos/${room}/more?x=y`]) {
      assert.equal(await status(server, path), 404, path);
      assert.equal(await status(server, path, { upgrade: true }), 101, path);
    }
  });

  for (const bytes of [Buffer.alloc(0), Buffer.from([0, 255]), Buffer.from('{"channel":"todos","sync":true,"from":null}')]) {
    same(`a binary frame of ${bytes.length} bytes is ignored`, async (server) => {
      const client = await Client.open(server, fresh("room"));
      client.socket.send(bytes);
      assert.deepEqual(await client.heard(), []);
    });
  }

  for (const [code, reason] of [[1000, ""], [1000, "done"], [4000, "so long"], [4999, "ü".repeat(60)]]) {
    same(`a client that closes with ${[code, reason.slice(0, 10)].join(" ").trim()} hears it back`, async (server) => {
      const client = await Client.open(server, fresh("room"));
      await client.create("a");
      client.socket.close(code, reason);
      const end = await client.closed();
      assert.deepEqual([end.code, end.reason], [code, reason]);
    });
  }

  ours("a client that closes without a code is answered without one, and others go on", async (server) => {
    const room = fresh("room");
    const [ann, bob] = await Promise.all([Client.open(server, room), Client.open(server, room)]);
    ann.call("create", todo("a"));
    ann.socket.close();
    assert.equal((await ann.closed()).code, 1005, "no code, and a clean end: a cut would be 1006");
    assert.deepEqual(ids((await bob.sync()).payload), ["a"], "what it had sent before counts");
  });

  same("a client whose cable is cut leaves the others alone", async (server) => {
    const room = fresh("room");
    const [ann, bob] = await Promise.all([Client.open(server, room), Client.open(server, room)]);
    await ann.sync();
    ann.cut();
    await bob.create("a");
    assert.deepEqual(ids((await bob.sync()).payload), ["a"]);
  });

  same("who offers permessage-deflate can talk, whether or not that is taken up", async (server) => {
    const client = await Client.open(server, fresh("room"), "", { perMessageDeflate: { threshold: 0 } });
    assert.equal(client.socket.extensions, server.name === "ours" ? "" : "permessage-deflate");
    const row = await client.create("a", "over and ".repeat(10_000));
    assert.deepEqual((await client.sync()).payload, [row]);
  });

  for (const seed of [1, 2, 3]) {
    same(`a session of three clients shows on all screens what it should, seed ${seed}`, async (server) => {
      const [room, roll] = [fresh("room"), dice(seed)];
      const clients = await Promise.all([1, 2, 3].map(() => Client.open(server, room)));
      await Promise.all(clients.map((client) => client.sync()));
      const todos = new Map();
      for (let step = 0; step < 60; step += 1) {
        const present = [...todos.keys()];
        const type = present.length === 0 ? "create" : ["create", "update", "update", "delete"][roll(4)];
        const id = type === "create" ? `todo ${step}` : present[roll(present.length)];
        const payload = { id, text: `text ${roll(1000)}`, completed: roll(2) };
        assert.equal((await clients[roll(3)].act(type, payload)).type, "success");
        if (type === "delete") todos.delete(id);
        else todos.set(id, [payload.text, payload.completed]);
      }
      for (const client of clients) {
        await client.heard();
        const shown = [...client.screen.shown].map(([id, row]) => [id, row.slice(1, 3)]);
        assert.deepEqual(new Map(shown), todos);
      }
    });
  }

  same("a channel of 20 MB comes whole, in one message, to a reader that pauses in it too", async (server) => {
    const room = fresh("room");
    const [ann, bob] = await Promise.all([Client.open(server, room), Client.open(server, room)]);
    const text = "0123456789".repeat(20_000);
    await Promise.all(Array.from({ length: 105 }, (_, i) => ann.create(`todo ${i}`, text)));
    bob.send({ channel: "todos", sync: true, from: null });
    bob.socket.pause();
    // Time goes by: the room works for somebody else, who gets it too.
    assert.equal((await ann.sync()).payload.length, 105);
    const changed = await ann.update("todo 0", "short");
    bob.socket.resume();
    const { payload } = await bob.next("the channel", (frame) => frame.sync);
    assert.equal(payload.length, 105);
    assert.ok(payload.every((row) => row[1] === text));
    assert.ok(bob.texts.some((text) => text.length > 20_000_000));
    const update = await bob.next("what changed meanwhile", (frame) => frame.payload?.[0][1] === "short");
    assert.deepEqual(update.payload, [changed]);
  });
});
