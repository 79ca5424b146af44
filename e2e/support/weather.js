// A network that misbehaves by a seed: what it does, and in which order, comes from the seed alone; how that meets
// what the page and the server do at the time does not.

import { connect, createServer } from "node:net";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

/** A generator of integers below a bound: mulberry32. */
export function random(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

export class Network {
  log = [];
  #listener;
  #links = new Set(); // { page, server }
  #port;
  #target;
  #refusing = false;
  #held = false;
  #delayMs = 0;
  #random;

  static async to(target, seed) {
    const network = new Network();
    network.#target = target;
    network.#random = random(seed);
    network.#listener = createServer((page) => network.#join(page));
    network.#listener.listen(0, "127.0.0.1");
    await once(network.#listener, "listening");
    network.#port = network.#listener.address().port;
    return network;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Misbehaves for so long, the longest spells being of `spell_ms`, and is well afterwards. */
  async rage(duration_ms, spell_ms) {
    const end = Date.now() + duration_ms;
    while (Date.now() < end) {
      const kind = ["cut", "reset", "away", "stall", "stall", "delay", "calm"][this.#random(7)];
      const wanted = 200 + this.#random(spell_ms);
      const ms = Math.min(wanted, Math.max(0, end - Date.now()));
      this.log.push(`${kind} ${wanted}`);
      await this.#spell(kind, ms);
    }
    this.heal();
  }

  /** Stalled connections are reset, as TCP does it in the end; new ones are as good as none between. */
  heal() {
    this.#refusing = false;
    this.#delayMs = 0;
    if (this.#held) this.#breakAll("resetAndDestroy");
    this.#held = false;
  }

  async close() {
    this.#listener.close();
    this.#breakAll("destroy");
  }

  async #spell(kind, ms) {
    if (kind === "cut") this.#breakAll("destroy");
    else if (kind === "reset") this.#breakAll("resetAndDestroy");
    else if (kind === "delay") this.#delayMs = 50 + this.#random(400);
    else if (kind === "away") {
      this.#refusing = true;
      this.#breakAll("destroy");
    } else if (kind === "stall") this.#hold();
    // Decided before the spell, so that how long it really took changes nothing.
    const releases = this.#random(2) === 0;
    await sleep(ms);
    if (kind === "stall" && releases) this.#release();
    this.heal();
  }

  /** Half-open: bytes go nowhere, and nobody hears that. */
  #hold() {
    this.#held = true;
    for (const { page, server } of this.#links) [page, server].forEach((socket) => socket.pause());
  }

  #release() {
    this.#held = false;
    for (const { page, server } of this.#links) [page, server].forEach((socket) => socket.resume());
  }

  #breakAll(how) {
    for (const { page, server } of this.#links) [page, server].forEach((socket) => socket[how]());
  }

  #join(page) {
    page.on("error", () => {}); // A broken socket is this file's purpose.
    if (this.#refusing) return page.resetAndDestroy();
    const server = connect(this.#target, "127.0.0.1");
    server.on("error", () => {});
    const link = { page, server };
    this.#links.add(link);
    for (const [from, to] of [[page, server], [server, page]]) {
      this.#carry(from, to);
      from.on("close", () => {
        to.destroy();
        this.#links.delete(link);
      });
      if (this.#held) from.pause();
    }
  }

  /** In order, whatever the delay is and was. */
  #carry(from, to) {
    let last = Promise.resolve();
    from.on("data", (bytes) => {
      const due = sleep(this.#delayMs);
      last = Promise.all([last, due]).then(() => to.destroyed || to.write(bytes));
    });
    from.on("end", () => (last = last.then(() => to.end())));
  }
}
