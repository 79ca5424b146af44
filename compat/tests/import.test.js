// A room that the original wrote moves to our server (SPEC 7.13), and pages that were in it come back: they hold the original's rows, with texts
// for times, and ask from there.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { Client } from "../support/client.js";
import { Screen } from "../support/screen.js";
import { Server } from "../support/server.js";

const servers = [];
const started = async (server) => (servers.push(await server), servers.at(-1));
after(() => Promise.all(servers.map((server) => server.kill())));

/** A page that is opened again: with what it has stored it asks for what is new. */
async function opened(server, room, stored) {
  const page = await Client.open(server, room);
  page.screen = new Screen(stored);
  await page.sync(page.screen.from);
  await page.heard();
  return page;
}

test("spec_7_13: a room of workerd's, taken while it runs, is what its pages come back to", async () => {
  const original = await started(Server.original());
  const ann = await Client.open(original, "lobby");
  await ann.sync();
  for (const id of ["a", "b", "c", "d"]) await ann.create(id);
  await ann.update("b", "changed");
  await ann.delete("c");
  const stored = ann.screen.stored;
  const text = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/;
  assert.match(stored.get("a").at(-3), text);
  ann.cut();
  // Ann is away.
  const bob = await Client.open(original, "lobby");
  await bob.sync();
  await bob.delete("a");
  await bob.update("d", "changed, too");
  await bob.create("e");
  const [file, ...others] = await original.rooms();
  assert.deepEqual(others, []);

  const ours = await started(Server.ours("--import", file));
  const fresh = await opened(ours, "imported", new Map());
  assert.deepEqual(fresh.screen.ids, ["b", "d", "e"]);
  // The instants are those of the texts.
  for (const id of fresh.screen.ids) {
    const [theirs, here] = [bob.screen.stored.get(id), fresh.screen.stored.get(id)];
    const instant = (time) => time && Date.parse(`${time.replace(" ", "T")}Z`);
    assert.deepEqual(here, [...theirs.slice(0, -3), ...theirs.slice(-3).map(instant)]);
  }

  const again = await opened(ours, "imported", stored);
  assert.deepEqual([...again.screen.shown].sort(), [...fresh.screen.shown].sort());
  assert.notEqual(again.screen.stored.get("a").at(-1), null, "a deletion that was missed is not stored");
  // It goes on here: what it stores from now on is a mixture, and what it misses now it gets, too.
  await again.create("f");
  again.cut();
  await fresh.delete("b");
  await fresh.update("e", "here");
  const third = await opened(ours, "imported", again.screen.stored);
  assert.deepEqual(third.screen.ids, ["d", "e", "f"]);
  assert.equal(third.screen.shown.get("e")[1], "here");
  ours.check();
});
