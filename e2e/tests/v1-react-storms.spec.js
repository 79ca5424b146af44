// The unmodified front end of version 1 on a network that cuts, stalls and delays by a seed: once it is
// quiet, every screen equals the room.

import { RawClient, expect, test } from "../support/v1-react.js";
import { Network, random } from "../support/weather.js";

const SEEDS = (process.env.V1_STORM_SEEDS ?? "1").split(",").map(Number);
const STORM_MS = Number(process.env.V1_STORM_SECONDS ?? 15) * 1000;
/** The longest spell of one kind of weather. */
const SPELL_MS = Number(process.env.V1_SPELL_SECONDS ?? 4) * 1000;
const TODOS = 12;

for (const seed of SEEDS) {
  test(`P1 P10 spec_12_11 two pages on a network that cuts and stalls equal the room in the end: seed ${seed}`, async ({
    server,
    open,
  }) => {
    test.setTimeout(STORM_MS + 150_000);
    const networks = await Promise.all([0, 1].map((index) => Network.to(server.port, seed * 2 + index)));
    const pages = await Promise.all(networks.map((at) => open({ at })));
    const raw = await RawClient.to(server);
    const choose = random(seed);

    let raging = true;
    const storms = Promise.all(networks.map((network) => network.rage(STORM_MS, SPELL_MS))).then(() => (raging = false));
    while (raging) {
      const action = anyAction(choose);
      const sender = choose(3);
      if (sender < 2) await pages[sender].send(action);
      else await raw.run(action);
      await pages[0].page.waitForTimeout(50 + choose(250));
    }
    await storms;

    await Promise.all(pages.map((page) => page.isConnected()));
    // Quiet: calls that nobody will answer have been given up, and queues are flushed.
    await pages[0].page.waitForTimeout(11_000);
    const rows = await raw.rows();
    const weather = networks.map(({ log }) => log.join(", ")).join("\n");
    for (const page of pages) {
      await expect.poll(() => page.rows(), { timeout: 30_000, message: `seed ${seed}:\n${weather}` }).toEqual(rows);
    }
    expect(await raw.rows(), "it was quiet").toEqual(rows);
    raw.close();
    await Promise.all(networks.map((network) => network.close()));
  });
}

function anyAction(choose) {
  const id = `todo-${choose(TODOS)}`;
  const type = ["create", "create", "update", "update", "delete"][choose(5)];
  if (type === "delete") return { type, payload: { id } };
  return { type, payload: { id, text: `${type} ${choose(1000)}`, completed: choose(2) } };
}
