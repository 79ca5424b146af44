// Tests that are run against two servers: ours, and the model of the original.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Server } from "./server.js";

/** How many tests run at once: most of them wait most of the time. */
const CONCURRENCY = 8;

let servers;

/** A file's tests, and the servers that they share. Each test has rooms of its own. */
export function suite(title, define) {
  describe(title, { concurrency: CONCURRENCY }, () => {
    before(async () => {
      const [ours, original] = await Promise.all([Server.ours(), Server.original()]);
      servers = { ours, original };
    });
    after(async () => {
      try {
        servers.ours.check();
      } finally {
        await Promise.all(Object.values(servers).map((server) => server.kill()));
      }
    });
    define();
  });
}

/** Something that the original gets wrong: passes against ours, and fails against the original as `wrong` says. */
export function cured(title, wrong, run) {
  test(`${title} [ours]`, () => run(servers.ours));
  test(`${title} [the original does not]`, async () => {
    const failed = await run(servers.original).then(
      () => null,
      (error) => error,
    );
    assert.ok(failed !== null, "the original does it too: this is no cure");
    assert.ok(failed instanceof assert.AssertionError, `not what is tested: ${failed?.stack}`);
    assert.match(failed.message, wrong, "the original fails in another way than it should");
  });
}

/** Something that the original does, and ours too. */
export function same(title, run) {
  test(`${title} [ours]`, () => run(servers.ours));
  test(`${title} [the original]`, () => run(servers.original));
}

/** Something that is a rule of ours. */
export function ours(title, run) {
  test(`${title} [ours]`, () => run(servers.ours));
}

/** Something that the original gets wrong, and that would take too long to see ours do right. */
export function wrong(title, run) {
  test(`${title} [the original]`, () => run(servers.original));
}
