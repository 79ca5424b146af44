// Rooms on a network that cuts, stalls and delays by a seed: the same rows everywhere in the end, nothing twice, nothing lost.
// More of it: STORM_SEEDS=1,2,3 STORM_SECONDS=120 npx vitest run storm

import { PartySocket } from "partysocket";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { WebSocket } from "ws";

// @ts-expect-error: plain JavaScript, shared with the tests in a browser.
import { Network, random } from "../../e2e/support/weather.js";
import { connect, type Fate, type Room, roomOf } from "../src/index.js";
import { OPEN_ACTIONS } from "../src/protocol.js";
import { browser } from "./support/browser.js";
import { Server } from "./support/server.js";
import { type Action, create, predict, type Todo, until, update } from "./support/todos.js";

const SEEDS = (process.env.STORM_SEEDS ?? "1").split(",").map(Number);
const SECONDS = Number(process.env.STORM_SECONDS ?? 8);

let server: Server;

beforeAll(async () => {
  server = await Server.start();
});
afterAll(() => server.end());

for (const seed of SEEDS) {
  test(`P1, P4: seed ${seed}, ${SECONDS} s`, { timeout: SECONDS * 1_000 + 60_000 }, async () => {
    browser();
    const network = await Network.to(Number(server.host.split(":")[1]), seed);
    const { host } = new URL(network.url);
    const name = `storm ${seed}`;
    const socket = new PartySocket({
      host,
      party: "todos",
      room: encodeURIComponent(name),
      WebSocket,
      minReconnectionDelay: 50,
    });
    // Two tabs of one browser, somebody without storage, and a partysocket.
    const rooms = [
      connect(host, { WebSocket, user: "ann" }).room("todos", name),
      connect(host, { WebSocket, user: "ann" }).room("todos", name),
      connect(host, { WebSocket, storage: false }).room("todos", name),
      roomOf(socket, { storage: false }),
    ];
    const channels = rooms.map((room) => room.channel<Todo, Action>("todos", { reducer: predict }));
    const stops = channels.map((channel) => channel.subscribe(() => {}));
    const fates: Promise<Fate>[] = [];
    const raging = network.rage(SECONDS * 1_000, 1_500) as Promise<void>;
    let isOver = false;
    void raging.then(() => {
      isOver = true;
    });
    const pick = random(seed) as (bound: number) => number;
    for (let i = 0; !isOver; i++) {
      // In a long spell without a connection the queue fills; two tabs share one.
      const isFull = (rooms[i % rooms.length]?.status.pending ?? 0) > OPEN_ACTIONS / 2;
      const channel = isFull ? undefined : channels[i % channels.length];
      // Run twice, the first would be refused. What the second makes of it depends on the order in the room.
      if (channel !== undefined) fates.push(channel.send(create(`${i}`)));
      if (channel !== undefined && i > 4) fates.push(channel.send(update(`${i % channels.length}`, `by ${i}`)));
      await new Promise((resolve) => setTimeout(resolve, pick(60)));
    }
    const hurry = setInterval(() => {
      for (const room of rooms) if (room.status.connection === "offline") room.reconnect();
    }, 500);
    const told = (await Promise.all(fates)).map((fate) => (fate.status === "synced" ? "synced" : JSON.stringify(fate)));
    // An update may come before the row is made, if that was another's to make.
    expect([...new Set(told.filter((fate) => !fate.includes("not_found")))]).toEqual(["synced"]);
    const fresh = connect(server.host, { WebSocket, storage: false }).room("todos", name);
    const all = fresh.channel<Todo, Action>("todos");
    stops.push(all.subscribe(() => {}));
    await until(
      () => fresh.status.connection,
      (c) => c === "live",
    );
    const texts = (rows: readonly Todo[]) => JSON.stringify(rows);
    for (const channel of channels)
      await until(
        () => texts(channel.rows),
        (found) => found === texts(all.rows),
        15_000,
      );
    expect(all.rows.length).toBeGreaterThan(SECONDS);
    expect(rooms.map((room: Room) => room.status.pending)).toEqual([0, 0, 0, 0]);
    clearInterval(hurry);
    for (const stop of stops) stop();
    socket.close();
    await network.close();
    vi.unstubAllGlobals();
  });
}
