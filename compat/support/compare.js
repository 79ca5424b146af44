// Tests that are run against our server, the same app on Durable Objects, and the model of the original.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Server } from "./server.js";

/** How many tests run at once: most of them wait most of the time. */
const CONCURRENCY = 8;

/** Who is asked: `ours` natively, `worker` on Durable Objects, `original`. */
const STARTS = { ours: () => Server.ours(), worker: () => Server.worker(), original: () => Server.original() };
const TARGETS = (process.env.PARTYSYNC_TARGETS ?? "ours,original").split(",");
for (const target of TARGETS) {
  if (!(target in STARTS)) throw new Error(`PARTYSYNC_TARGETS: ${target} is none of ${Object.keys(STARTS).join(", ")}`);
}

const servers = {};

/** A file's tests, and the servers that they share. Each test has rooms of its own. */
export function suite(title, define) {
  describe(title, { concurrency: CONCURRENCY }, () => {
    before(async () => {
      await Promise.all(TARGETS.map(async (target) => (servers[target] = await STARTS[target]())));
    });
    after(async () => {
      const started = Object.values(servers);
      try {
        for (const server of started) server.check();
      } finally {
        await Promise.all(started.map((server) => server.kill()));
      }
    });
    define();
  });
}

/** Registers a test with each of these servers that is asked. */
function each(targets, title, run) {
  for (const target of TARGETS.filter((target) => targets.includes(target))) {
    test(`${title} [${target}]`, () => run(servers[target]));
  }
}

/** Ours, natively and on Durable Objects; `nativeOnly` is why there it cannot be so. */
const homes = ({ nativeOnly } = {}) => (nativeOnly ? ["ours"] : ["ours", "worker"]);

/** Something that the original gets wrong: passes against ours, and fails against the original as `wrong` says. */
export function cured(title, wrong, run, where) {
  each(homes(where), title, run);
  each(["original"], `${title}, unlike`, async (server) => {
    const failed = await run(server).then(
      () => null,
      (error) => error,
    );
    assert.ok(failed !== null, "the original does it too: this is no cure");
    assert.ok(failed instanceof assert.AssertionError, `not what is tested: ${failed?.stack}`);
    assert.match(failed.message, wrong, "the original fails in another way than it should");
  });
}

/** Something that the original does, and ours too. */
export function same(title, run, where) {
  each([...homes(where), "original"], title, run);
}

/** Something that is a rule of ours. */
export function ours(title, run, where) {
  each(homes(where), title, run);
}

/** Something that the original gets wrong, and that would take too long to see ours do right. */
export function wrong(title, run) {
  each(["original"], title, run);
}
