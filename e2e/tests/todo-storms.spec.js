// Two browsers on a network that cuts, stalls and delays by a seed: when it is over, both screens equal the room, and each action was
// done exactly once.

import { expect, test, versionOf } from "../support/todo.js";
import { Network, random } from "../support/weather.js";

const SEEDS = (process.env.TODO_STORM_SEEDS ?? "1").split(",").map(Number);
const STORM_MS = Number(process.env.TODO_STORM_SECONDS ?? 15) * 1000;
/** The longest spell of one kind of weather. */
const SPELL_MS = Number(process.env.TODO_SPELL_SECONDS ?? 4) * 1000;
/** All of a list this long is in the document: more room than it takes. */
const TODOS = 12;
const VIEWPORT = { width: 900, height: 4_000 };

for (const seed of SEEDS) {
  test(`P1 P4 two browsers on a network that cuts and stalls equal the room in the end, nothing twice, nothing lost: seed ${seed}`, async ({
    server,
    join,
  }) => {
    test.setTimeout(STORM_MS + 180_000);
    const networks = await Promise.all([0, 1].map((index) => Network.to(server.port, seed * 2 + index)));
    const people = await Promise.all(
      networks.map(async ({ url }, index) => {
        const page = await join({ url, options: { viewport: VIEWPORT } });
        await page.isKept();
        return new Person(`person${index}`, page, random(seed * 7 + index));
      }),
    );
    const end = Date.now() + STORM_MS;
    await Promise.all([
      ...networks.map((network) => network.rage(STORM_MS, SPELL_MS)),
      ...people.map((person) => person.act(end)),
    ]);

    const weather = networks.map(({ log }) => log.join(", ")).join("\n");
    await test.info().attach("weather", { body: weather });
    for (const { page } of people) await page.isLive();
    const expected = people.flatMap((person) => [...person.todos]).sort();
    const late = await join({ url: server.url, options: { viewport: VIEWPORT } });
    for (const page of [...people.map((person) => person.page), late]) {
      await expect.poll(() => rows(page.page), { timeout: 30_000, message: weather }).toEqual(expected);
      await expect(page.problems, "nothing was refused, as a second `create` would be").toHaveCount(0);
    }
    const actions = people.reduce((sum, person) => sum + person.actions, 0);
    expect(await versionOf(server), `each of ${actions} actions made one version`).toBe(actions);
    console.log(`seed ${seed}: ${actions} actions, ${people.reduce((sum, person) => sum + person.reloads, 0)} reloads`);
    await Promise.all(networks.map((network) => network.close()));
  });
}

/** Somebody who changes only own todos, and so knows what they must be in the end: text and whether it is ticked. */
class Person {
  todos = new Map();
  actions = 0;
  reloads = 0;
  #made = 0;

  constructor(name, page, choose) {
    this.name = name;
    this.page = page;
    this.choose = choose;
  }

  async act(end) {
    while (Date.now() < end) {
      await this.#one();
      await this.page.page.waitForTimeout(20 + this.choose(250));
    }
  }

  async #one() {
    const texts = [...this.todos.keys()];
    const text = texts[this.choose(Math.max(1, texts.length))];
    const kind = this.choose(20);
    // The page comes from the browser if the network is away.
    if (kind === 0) {
      this.reloads += 1;
      await this.page.page.reload();
      return;
    }
    this.actions += 1;
    if (text === undefined || (kind < 9 && texts.length < TODOS)) {
      const made = `${this.name} todo ${this.#made++}`;
      this.todos.set(made, false);
      return this.page.add(made);
    }
    const isTicked = this.todos.get(text);
    if (kind < 13) {
      this.todos.set(text, !isTicked);
      return this.page.checkbox(text).click();
    }
    this.todos.delete(text);
    if (kind < 17) {
      const edited = `${text.split(",")[0]}, edited ${this.actions}`;
      this.todos.set(edited, isTicked);
      return this.page.edit(text, edited);
    }
    return this.page.delete(text);
  }
}

/** What is on the screen: [text, whether it is ticked]; a row that is there twice is there twice. */
function rows(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("li[data-id]")]
      .map((item) => [item.querySelector(".text").textContent, item.querySelector("[name=completed]").checked])
      .sort(),
  );
}
