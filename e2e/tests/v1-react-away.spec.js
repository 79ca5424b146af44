// An unmodified front end of version 1 asks for nothing when its socket comes back: all that it learns of
// what it missed the server volunteers (SPEC 12.11).

import { RawClient, expect, test } from "../support/v1-react.js";

/** How long a socket stays cut; minutes in the long run. */
const CUT_MS = Number(process.env.V1_CUT_SECONDS ?? 3) * 1000;

/** A page with two rows that came by broadcast, so that it has stored them. */
async function withMilkAndBread(raw, page) {
  await raw.create("a", "Milk");
  await raw.create("b", "Bread");
  await page.shows("Milk", "Bread");
}

async function changeAll(raw) {
  await raw.delete("a");
  await raw.run({ type: "update", payload: { id: "b", text: "Rye bread", completed: 1 } });
  await raw.create("c", "Tea");
}

/** The page shows what `changeAll` did, also once it has only what it stored and one sync. */
async function hasCaughtUp(page, raw) {
  await page.shows("Rye bread", "Tea");
  expect(await page.rows()).toEqual(await raw.rows());
  await page.page.reload();
  await page.shows("Rye bread", "Tea");
}

test("P10 spec_12_11 what was missed while the socket was cut is on the screen after its return, and after a reload", async ({
  server,
  cable,
  open,
}) => {
  test.setTimeout(90_000 + CUT_MS);
  const raw = await RawClient.to(server);
  const ann = await open({ at: cable });
  await withMilkAndBread(raw, ann);
  await cable.pull();
  await ann.isCutOff();
  await changeAll(raw);
  await ann.send({ type: "create", payload: { id: "d", text: "Salt", completed: 0 } });
  await ann.page.waitForTimeout(CUT_MS); // The length of the cut is what is tested.
  await cable.plug();
  await ann.isConnected();
  await ann.shows("Rye bread", "Tea", "Salt");
  await raw.delete("d");
  await hasCaughtUp(ann, raw);
  raw.close();
});

for (const [how, stop] of [
  ["stopped", (server) => server.stop()],
  ["killed", (server) => server.kill()],
]) {
  test(`P10 P3 spec_12_11 server ${how} and restarted while a page is open: it shows what others changed before it was back`, async ({
    start,
    open,
  }) => {
    test.setTimeout(120_000);
    const before = await start();
    let raw = await RawClient.to(before);
    const ann = await open({ at: before });
    await withMilkAndBread(raw, ann);
    raw.close();
    await stop(before);
    await ann.isCutOff();
    // On another port first, so that the others are surely faster than the page.
    const elsewhere = await start();
    raw = await RawClient.to(elsewhere);
    await changeAll(raw);
    raw.close();
    await stop(elsewhere);
    const after = await start({ port: before.port });
    raw = await RawClient.to(after);
    await ann.isConnected();
    await hasCaughtUp(ann, raw);
    raw.close();
  });
}
