// How much is kept on the device, and what goes when it is too much.

import { IDBObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { KEPT_ROOMS } from "../src/storage.js";
import { type Locks, stored } from "./support/browser.js";
import { joined, NOW, patch, snapshot, total } from "./support/script.js";
import { closeBrowser, EMPTY, keepOthers, openBrowser, records, Tab } from "./support/tab.js";
import { until } from "./support/todos.js";

let locks: Locks;

beforeEach(() => {
  locks = openBrowser();
});
afterEach(closeBrowser);

test("KEPT_ROOMS: as many rooms are kept as may be, and with one more the one goes that was used least recently", async () => {
  const first = new Tab();
  await first.join(...EMPTY, patch(0, 1, [total(7)]));
  await first.close();
  for (const [others, left] of [
    [KEPT_ROOMS - 1, 1],
    [KEPT_ROOMS, 0],
  ] as const) {
    await keepOthers(others);
    const opened = Date.now();
    const tab = new Tab();
    await vi.waitFor(async () => {
      const own = await stored("clients", (store) => store.get("room of ann"));
      expect(own.usedAt).toBeGreaterThanOrEqual(opened);
      expect(await records("room 0")).toEqual([left, left]);
    });
    expect(await records("room 1")).toEqual([1, 1]);
    await tab.close();
    expect([(await records("room of ann"))[0], tab.rows()]).toEqual([1, [["total", 7]]]);
    expect(await stored("clients", (store) => store.count())).toBe(KEPT_ROOMS);
  }
});

test("KEPT_ROOMS: a room with open actions, and one that a tab is in, stay", async () => {
  const before = new Tab();
  await before.join(...EMPTY);
  await before.close();
  await keepOthers(KEPT_ROOMS + 2, "room 0");
  let leave = () => {};
  const inUse = new Promise<void>((resolve) => {
    leave = resolve;
  });
  void locks.request("partysync room 1", {}, () => inUse);
  await Promise.resolve();
  const tab = new Tab();
  await vi.waitFor(async () => expect(await records("room 2")).toEqual([0, 0]));
  for (const room of ["room 0", "room 1", "room 3"]) expect(await records(room), room).toEqual([1, 1]);
  expect(await stored("pending", (store) => store.count())).toBe(1);
  await tab.close();
  leave();
});

test("5,000 rows are kept in few records, and a change writes few of them", async () => {
  const rows = Array.from({ length: 5_000 }, (_, i) => [`row ${i}`, i, NOW, NOW, null]);
  const before = new Tab();
  await before.join(joined(0, 0, true, true), snapshot(rows));
  await before.close();
  expect((await stored("rows", (store) => store.getAll())).length).toBe(64);
  const after = new Tab();
  await until(
    () => after.rows().length,
    (n) => n === 5_000,
  );
  const put = vi.spyOn(IDBObjectStore.prototype, "put");
  await after.join(joined(0, 0, false, true), patch(0, 1, [["row 7", 70, NOW, NOW, null]]));
  await after.close();
  expect(put.mock.calls.filter(([value]) => Array.isArray(value)).length).toBe(1);
  const third = new Tab();
  await until(
    () => third.shown?.tables.get("counts")?.row("row 7")?.[1],
    (value) => value === 70,
  );
});
