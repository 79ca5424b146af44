import { describe, expect, test } from "vitest";

import { OPEN_ACTIONS } from "../src/protocol.js";
import { ack, error, joined, NOW, patch, ROOM, Script, snapshot, total } from "./support/script.js";

describe("what is shown", () => {
  test("P6: a pending action goes in the step in which its effect comes", () => {
    const script = Script.joined();
    script.act("add", 5);
    expect(script.numbers()).toEqual([1]);
    script.text(ack(1, 1));
    expect(script.pending, "acked, but its rows are not here").toBe(1);
    expect(script.has("accepted")).toBe(true);
    script.text(patch(0, 1, [total(5)]));
    expect(script.pending).toBe(0);
    expect(script.fates()).toEqual([[1, { status: "synced", version: 1 }]]);
    expect(script.seen, "neither the old state nor the effect twice").toEqual([5, 5]);
  });

  test("SPEC 9.1: others' changes go below what is pending", () => {
    const script = Script.joined();
    script.act("add", 5);
    script.text(patch(0, 1, [total(100)]));
    script.act("add", 1);
    expect(script.seen).toEqual([5, 105, 106]);
    script.text(ack(1, 2));
    script.text(patch(1, 2, [total(105)]));
    expect([script.total, script.pending]).toEqual([106, 1]);
  });

  test("SPEC 9.2: a rejection rolls back and says why", () => {
    const script = Script.joined();
    script.act("add", 5);
    const why = { ...(error("rejected", "never", "Not today.") as object), reason: "no" };
    script.text({ type: "reject", room: ROOM, number: 1, error: why });
    expect(script.seen).toEqual([5, undefined]);
    expect(script.fates()).toEqual([[1, { status: "rejected", error: why }]]);
  });

  test("SPEC 9.2: one that is forgotten goes with its fate unknown", () => {
    const script = Script.joined();
    script.act("add", 5);
    script.text({ type: "reject", room: ROOM, number: 1, error: error("outcome_forgotten") });
    expect(script.fates()).toMatchObject([[1, { status: "unknown" }]]);
  });

  test("SPEC 3.6: rows are in the order in which they were made, integers before texts where that is the same", () => {
    const script = Script.joined();
    const row = (id: string | number, at: number) => [id, 0, at, at, null];
    script.text(patch(0, 1, [row("b", 2), row("a", 2), row(7, 2), row("late", 9)]));
    script.text(patch(1, 2, [row("early", 1), row("middle", 5)], ["a", "nobody"]));
    const ids = script.client
      .save()
      .tables.get("counts")
      ?.rows.map(([id]) => id);
    expect(ids).toEqual(["early", 7, "b", "middle", "late"]);
  });
});

describe("after a reconnect", () => {
  test("SPEC 9.4: it joins with what it has and sends again", () => {
    const script = new Script();
    script.act("add", 1);
    script.act("add", 1);
    expect(script.sent(), "there is no socket").toEqual([]);
    script.handle({ type: "opened" });
    script.welcome();
    expect(script.sent().pop()).toMatchObject({ type: "join", born: null, cursor: null });
    script.text(joined(7, 0, true, true));
    script.text(snapshot([total(10)]));
    expect([script.numbers(), script.total]).toEqual([[1, 2], 12]);
    script.text(ack(1, 8));
    script.reconnect();
    expect(script.sent().pop()).toMatchObject({ born: 7, cursor: { version: 7, stamp: 107 } });
    script.text(joined(9, 2, false, true));
    expect(script.numbers(), "the first one's outcome is known").toEqual([2]);
    script.text(patch(7, 9, [total(12)]));
    script.text(ack(2, 9));
    expect([script.total, script.pending]).toEqual([12, 0]);
  });

  test("SPEC 8.21, 9.5: a reset drops rows and loses no pending action", () => {
    const script = Script.joined();
    script.text(patch(0, 5, [total(50), ["ghost", 1, NOW, NOW, null]]));
    script.act("add", 1);
    script.reconnect();
    script.sent();
    script.text(joined(3, 0, true, true));
    expect(script.total, "until the snapshot is whole nothing changes").toBe(51);
    script.text({ type: "snapshot", room: ROOM, channel: "counts", rows: [], more: true });
    script.text(snapshot([total(30)]));
    expect([script.total, script.numbers()]).toEqual([31, [1]]);
    const { cursor, tables } = script.client.save();
    expect([cursor?.version, tables.get("counts")?.rows.length]).toEqual([3, 1]);
  });

  test("SPEC 9.5: a history that lost what was settled gets a new client", () => {
    const script = Script.joined();
    script.act("add", 1);
    script.text(ack(1, 1));
    script.text(patch(0, 1, [total(1)]));
    script.act("add", 1);
    script.now += 1;
    script.reconnect();
    const first = script.sent().pop();
    script.text(joined(0, 0, true, true));
    const second = script.sent().pop();
    expect(second).toMatchObject({ type: "join", born: null });
    expect(second?.client).not.toBe(first?.client);
    script.text(joined(0, 0, true, true));
    script.text(snapshot([]));
    expect([script.numbers(), script.total], "what was settled is gone with the history").toEqual([[1], 1]);
  });

  test("SPEC 9.5: numbers that another copy used are not taken for its own", () => {
    const script = Script.joined();
    script.act("add", 1);
    script.text(ack(1, 1));
    script.text(patch(0, 1, [total(1)]));
    // The copy goes on to number 3; this one comes back and asks for its own number 2.
    const copy = Script.restored(script.client.save());
    copy.act("add", 10);
    copy.now += 2;
    copy.handle({ type: "opened" });
    copy.welcome();
    copy.sent();
    copy.text(joined(3, 3, false, true));
    expect(copy.sent().pop(), "under a new id").toMatchObject({ type: "join", born: null });
    copy.text(joined(3, 0, false, true));
    copy.text(patch(1, 3, [total(3)]));
    expect([copy.numbers(), copy.total]).toEqual([[1], 13]);
  });

  test("SPEC 9.5: what was acked and is in the history is not sent again", () => {
    const script = Script.joined();
    for (let i = 0; i < 3; i++) script.act("add", 1);
    script.text(ack(1, 1));
    script.text(ack(2, 2));
    script.now += 2;
    script.reconnect();
    script.effects = [];
    // A backup from after the first.
    script.text(joined(1, 1, true, true));
    script.text(joined(1, 0, true, true));
    expect([script.fates(), script.pending], "its rows are not here yet").toEqual([[], 3]);
    script.text(snapshot([total(1)]));
    expect(script.fates()).toMatchObject([[Number.MAX_SAFE_INTEGER, { status: "synced", version: 1 }]]);
    expect([script.numbers(), script.total]).toEqual([[1, 2], 3]);
  });

  test("SPEC 6.7: a forgotten client is told which fates nobody knows", () => {
    const script = Script.joined();
    script.act("add", 1);
    script.handle({ type: "closed" });
    script.act("add", 2);
    script.reconnect();
    script.effects = [];
    script.text(joined(4, 0, true, false));
    expect(script.fates()).toMatchObject([[1, { status: "unknown", error: { code: "client_unknown" } }]]);
    script.effects = [];
    script.text(joined(4, 0, true, true));
    script.text(snapshot([]));
    expect([script.numbers(), script.total], "what was never sent is sent, as number 1").toEqual([[1], 2]);
  });

  test("SPEC 8.36, P6: what was acked goes with the patch that follows an older snapshot", () => {
    const script = Script.joined();
    script.act("add", 1);
    script.act("add", 10);
    script.text(ack(1, 7));
    // One whose ack names a version of a history that is gone: it shows with the newest of this one.
    script.text(ack(2, 90));
    script.reconnect();
    script.seen = [];
    script.text({ ...(joined(5, 2, true, true) as object), newest: 9 });
    script.text(snapshot([total(100)]));
    expect([script.client.save().cursor?.version, script.pending]).toEqual([5, 2]);
    script.text(patch(5, 9, [total(111)]));
    expect([script.client.save().cursor?.version, script.pending]).toEqual([9, 0]);
    expect(new Set(script.seen), "nothing flickers").toEqual(new Set([111]));
  });

  test("SPEC 6.7: an acked action of a forgotten client was applied", () => {
    const script = Script.joined();
    script.act("add", 1);
    script.text(ack(1, 1));
    script.effects = [];
    script.text(joined(4, 0, true, false));
    expect(script.fates()).toEqual([]);
    script.text(joined(4, 0, true, true));
    script.text(snapshot([total(1)]));
    expect(script.fates()).toMatchObject([[Number.MAX_SAFE_INTEGER, { status: "synced", version: 1 }]]);
    expect([script.numbers(), script.total]).toEqual([[], 1]);
  });

  test("SPEC 9.4: a client goes on after a reload where it stopped", () => {
    const script = Script.joined();
    script.text(patch(0, 3, [total(30)]));
    script.act("add", 1);
    const again = Script.restored(script.client.save());
    expect(again.total).toBe(31);
    again.handle({ type: "opened" });
    again.welcome();
    expect(again.sent().pop()?.cursor).toEqual({ version: 3, stamp: 103 });
    again.text(joined(3, 0, false, true));
    expect(again.numbers()).toEqual([1]);
  });
});

describe("what it says", () => {
  test("SPEC 6.3: try later is tried later, with all behind it", () => {
    const script = Script.joined();
    for (let i = 0; i < 3; i++) script.act("add", 1);
    expect(script.numbers()).toEqual([1, 2, 3]);
    script.text(ack(1, 1));
    for (const number of [2, 3]) {
      const full = error("storage_full", "later");
      script.text({ type: "later", room: ROOM, number, after_ms: 2_000, error: full });
    }
    script.now += 1_999;
    script.handle({ type: "tick" });
    expect(script.numbers()).toEqual([]);
    expect(script.total, "SPEC 9.7: unknown is not failed").toBe(3);
    script.now += 1;
    script.handle({ type: "tick" });
    expect(script.numbers()).toEqual([2, 3]);
  });

  test("SPEC 9.6: a gap before the first makes it join again after the delay; what was sent stays sent", () => {
    const script = Script.joined();
    script.act("add", 1);
    script.act("add", 1);
    script.sent();
    const gap = error("number_gap", "rejoin");
    for (const number of [1, 2]) script.text({ type: "later", room: ROOM, number, after_ms: 100, error: gap });
    expect(script.sent()).toEqual([]);
    script.now += 100;
    script.handle({ type: "tick" });
    expect(script.sent().map((f) => f.type)).toEqual(["join"]);
    script.text(joined(0, 0, false, true));
    expect(script.numbers()).toEqual([1, 2]);
    expect(script.client.save().pending.every((p) => p.sent)).toBe(true);
  });

  test("SPEC 8.23: patches it holds are ignored, and a gap makes it join again", () => {
    const script = Script.joined();
    script.text(patch(0, 3, [total(3)]));
    script.text(patch(1, 2, [total(2)]));
    expect(script.total).toBe(3);
    script.text(patch(2, 4, [total(4)]));
    expect(script.total, "one that overlaps is applied").toBe(4);
    script.sent();
    script.text(patch(5, 6, [total(6)]));
    expect(script.total).toBe(4);
    expect(script.sent().pop()?.cursor).toEqual({ version: 4, stamp: 104 });
  });

  test("SPEC 8.25: it says what it has every 32 patches, or after a second", () => {
    const script = Script.joined();
    const have = () => script.sent().flatMap((f) => (f.type === "have" ? [f.version] : []));
    for (let v = 0; v < 32; v++) script.text(patch(v, v + 1, []));
    expect(have()).toEqual([32]);
    script.text(patch(32, 33, []));
    script.now += 1_000;
    script.handle({ type: "tick" });
    expect(have()).toEqual([33]);
    script.now += 1_000;
    script.handle({ type: "tick" });
    expect(have(), "once").toEqual([]);
  });

  test("SPEC 8.26: it pings, and gives up a server that is silent", () => {
    const script = Script.joined();
    for (let i = 0; i < 2; i++) {
      script.now += 25_000;
      script.handle({ type: "tick" });
      expect(script.sent().pop()?.type).toBe("ping");
    }
    script.now += 25_000;
    script.handle({ type: "tick" });
    expect(script.has("reconnect")).toBe(true);
  });

  test("SPEC 8.26: clocks that it asks for lead somewhere: it does not spin", () => {
    const states: [string, (script: Script) => void][] = [
      ["live", () => {}],
      ["joining again after a gap", (script) => skip(script)],
      ["given up", (script) => script.text("nonsense")],
      ["spoilt", (script) => script.text(patch(0, 1, [{}]))],
      ["left", (script) => script.text({ type: "left", room: ROOM, error: error("busy", "later") })],
      ["to be sent later", (script) => laterThan(script)],
    ];
    for (const [name, prepare] of states) {
      const script = Script.joined();
      prepare(script);
      let ticks = 0;
      for (const end = script.now + 60_000; ; ticks++) {
        const asked = script.effects.flatMap((e) => (e.type === "tick_at" ? [e.at] : [])).pop();
        script.effects = [];
        if (asked === undefined || asked > end) break;
        expect(ticks, name).toBeLessThan(20);
        script.now = asked;
        script.handle({ type: "tick" });
      }
    }
  });

  test("SPEC 9.9: open_actions are taken, and one more is refused until one of them is settled", () => {
    const script = Script.joined();
    for (let i = 0; i < OPEN_ACTIONS; i++) script.act("add", 1);
    expect([script.has("refused"), script.pending]).toEqual([false, OPEN_ACTIONS]);
    script.act("add", 1);
    expect([script.effects.at(-2), script.pending]).toMatchObject([
      { type: "refused", error: { code: "busy" } },
      1_000,
    ]);
    script.text(ack(1, 1));
    script.text(patch(0, 1, [total(1)]));
    script.effects = [];
    script.act("add", 1);
    expect([script.has("refused"), script.pending, script.numbers().at(-1)]).toEqual([false, OPEN_ACTIONS, 1_001]);
  });

  test("SPEC 8.6, 11: an action that no room takes is refused at once", () => {
    const script = Script.joined();
    const refused = (action: unknown) => {
      script.effects = [];
      script.handle({ type: "act", channel: "counts", action, key: "x" });
      return script.effects[0]?.type === "refused" ? script.effects[0].error.code : "taken";
    };
    const deep = (n: number): unknown => (n === 0 ? "[{" : [deep(n - 1)]);
    const circle: { me?: unknown } = {};
    circle.me = circle;
    expect([deep(64), circle, undefined, 1n, () => 0].map(refused)).toEqual(Array(5).fill("bad_action"));
    expect(refused("x".repeat(256 * 1024 - 1)), "with its quotes it is one byte too long").toBe("too_large");
    expect(refused("ü".repeat(128 * 1024)), "bytes, not characters").toBe("too_large");
    expect(script.pending).toBe(0);
    expect([deep(63), "x".repeat(256 * 1024 - 2), null].map(refused)).toEqual(["taken", "taken", "taken"]);
  });

  test("SPEC 14.6: what comes before welcome is ignored, and comes again", () => {
    const script = new Script();
    script.handle({ type: "opened" });
    script.effects = [];
    script.text("plain words of the app");
    script.text({ type: "message", room: ROOM, text: "too early" });
    expect(script.has("reconnect") || script.has("message")).toBe(false);
    script.handle({ type: "say", text: "nobody listens" });
    expect(script.sent()).toEqual([]);
    script.welcome();
    script.text({ type: "message", room: ROOM, text: "hello" });
    expect(script.effects).toContainEqual({ type: "message", text: "hello" });
    script.text("plain words of the app");
    expect(script.has("reconnect")).toBe(true);
  });

  test("SPEC 14.7: it says something to the app in the room", () => {
    const script = Script.joined();
    script.handle({ type: "say", text: "hi" });
    expect(script.sent()).toEqual([{ type: "message", room: ROOM, text: "hi" }]);
  });

  test("SPEC 8.5: a token goes with each join", () => {
    const script = new Script();
    script.handle({ type: "token", token: "secret" });
    script.handle({ type: "opened" });
    script.welcome();
    expect(script.sent().pop()).toMatchObject({ type: "join", token: "secret" });
    script.text(joined(0, 0, false, true));
    script.handle({ type: "token", token: "newer" });
    expect(script.sent(), "SPEC 8.18: and by itself while the room is joined").toEqual([
      { type: "token", room: ROOM, token: "newer" },
    ]);
    script.reconnect();
    expect(script.sent().pop()).toMatchObject({ token: "newer" });
  });

  test("SPEC 8.20: it leaves for good if coming back can't help, else it comes back", () => {
    for (const [retry, effect] of [
      ["never", "left"],
      ["later", "reconnect"],
    ] as const) {
      const script = Script.joined();
      script.text({ type: "left", room: ROOM, error: error("x", retry) });
      expect(script.effects.map((e) => e.type)).toEqual([effect]);
    }
  });

  test("SPEC 8.3: frames of another room are not its own", () => {
    const script = Script.joined();
    script.text({ ...(patch(0, 1, [total(9)]) as object), room: "counts/b" });
    expect(script.total).toBeUndefined();
  });

  test("SPEC 8.32: on a socket that was greeted for another room it joins at once", () => {
    const script = new Script();
    const welcome = { type: "welcome", version: 2, rooms: 32, ping_ms: 9_000, frame_bytes: 1 << 20 } as const;
    script.handle({ type: "opened", welcome });
    expect(script.sent().map((f) => f.type)).toEqual(["join"]);
  });
});

function skip(script: Script): void {
  script.text(patch(0, 1, []));
  script.text(patch(5, 6, []));
}

function laterThan(script: Script): void {
  script.act("add", 1);
  script.text({ type: "later", room: ROOM, number: 1, after_ms: 2_000, error: error("number_gap", "rejoin") });
}

describe("what a server may send", () => {
  test("SPEC 8.1: frames that are wrong make it reconnect and never throw", () => {
    const wrong = [
      "nonsense",
      "{}",
      "null",
      "[]",
      "7",
      '{"type":7}',
      '{"type":"patch"}',
      '{"type":"welcome"}',
      '{"type":"error"}',
    ];
    for (const frame of wrong) {
      const script = Script.joined();
      script.text(frame);
      expect(script.has("reconnect"), frame).toBe(true);
    }
  });

  test("SPEC 8.1: an unknown message is ignored, whatever its name", () => {
    for (const type of ["from the future", "toString", "__proto__", "constructor"]) {
      const script = Script.joined();
      script.text({ type });
      expect(script.has("reconnect"), type).toBe(false);
    }
  });

  test("SPEC 3.2: rows that are none spoil what it holds: it asks for all of them", () => {
    for (const row of [{ no: "row" }, [], [null, 1], [1.5], 7, [[1]]]) {
      const script = Script.joined();
      script.text(patch(0, 1, [row]));
      expect(script.has("reconnect"), JSON.stringify(row)).toBe(true);
      expect(script.client.save().cursor).toBeNull();
    }
    const script = Script.joined();
    script.text(patch(0, 1, [], [{ no: "id" }]));
    expect(script.client.save().cursor).toBeNull();
  });

  test("SPEC 8.8: columns that changed without a row are known", () => {
    const script = Script.joined();
    script.text(patch(0, 1, [total(1)]));
    const before = script.client.save().tables.get("counts");
    script.reconnect();
    const channels = { counts: ["id", "value", "note", "created_at", "updated_at", "deleted_at"] };
    script.text({ ...(joined(1, 0, false, true) as object), channels });
    const after = script.client.save().tables.get("counts");
    expect(after?.columns).toEqual(channels.counts);
    expect(after?.rows).toBe(before?.rows);
  });
});
