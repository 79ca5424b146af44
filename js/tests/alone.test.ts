// Rooms that are kept where there are no Web Locks, as on a page without TLS: each tab is a client of its own.

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { LEASE_MS, SLOTS } from "../src/alone.js";
import { KEPT_ROOMS } from "../src/storage.js";
import { stored } from "./support/browser.js";
import { joined, NOW, patch, total } from "./support/script.js";
import { closeBrowser, EMPTY, first, keepOthers, openBrowser, records, Tab } from "./support/tab.js";
import { until } from "./support/todos.js";

beforeEach(() => {
  openBrowser();
});
afterEach(closeBrowser);

/** A browser without Web Locks, as on a page without TLS. Returns what a tab is that was just opened, and how a page of it ends. */
function withoutLocks() {
  vi.stubGlobal("navigator", {});
  const tab = (session = new Map<string, string>()) => {
    const ends = new Set<() => void>();
    const isHere = () =>
      vi.stubGlobal("sessionStorage", {
        getItem: (key: string) => session.get(key) ?? null,
        setItem: (key: string, value: string) => session.set(key, value),
        removeItem: (key: string) => session.delete(key),
      });
    isHere();
    vi.stubGlobal("addEventListener", (_: string, end: () => void) => ends.add(end));
    vi.stubGlobal("removeEventListener", (_: string, end: () => void) => ends.delete(end));
    const reload = () => {
      isHere();
      for (const end of [...ends]) end();
    };
    return { session, tab: new Tab(), reload };
  };
  return tab;
}

test("without Web Locks each tab is a client of its own, and what it was asked for outlives it", async () => {
  const open = withoutLocks();
  const [one, two] = [open(), open()];
  await one.tab.join(...EMPTY, patch(0, 1, [total(5)]));
  await two.tab.join(...EMPTY);
  expect([one.tab.keeps, two.tab.keeps]).toEqual([true, true]);
  const [own, other] = [one, two].map(({ tab }) => first(tab, "join")?.client);
  expect(own).not.toBe(other);
  one.tab.act("a");
  await until(
    () => one.tab.actions(),
    (sent) => sent.length === 1,
  );
  await one.tab.close();
  await two.tab.close();
  const again = open().tab;
  await until(
    () => again.rows(),
    (rows) => rows.length === 1,
  );
  await again.join(joined(1, 0, false, true));
  expect(first(again, "join")?.client).toBe(own);
  await vi.waitFor(() => expect(first(again, "action")?.number).toBe(1));
});

test("without Web Locks a page that is loaded again goes on at once, and a copy of its tab is another client", async () => {
  const open = withoutLocks();
  const page = open();
  await page.tab.join(...EMPTY);
  const own = first(page.tab, "join")?.client;
  const copy = open(new Map(page.session)).tab;
  await copy.join(...EMPTY);
  expect(first(copy, "join")?.client).not.toBe(own);
  page.reload();
  const again = open(page.session).tab;
  await again.join(joined(0, 0, false, true));
  expect(first(again, "join")?.client).toBe(own);
  expect(page.session.size, "what it left is not found twice").toBe(0);
});

test("LEASE_MS: a tab that is gone without a word is waited for, then its open actions go out first", async () => {
  const open = withoutLocks();
  const now = vi.spyOn(Date, "now").mockReturnValue(NOW);
  const idle = open().tab;
  await idle.join(...EMPTY);
  const gone = open().tab;
  await gone.join(...EMPTY);
  const own = first(gone, "join")?.client;
  gone.act("a");
  await until(
    () => gone.actions(),
    (sent) => sent.length === 1,
  );
  now.mockReturnValue(NOW + LEASE_MS - 1);
  const early = open().tab;
  await early.join(...EMPTY);
  expect([idle, gone].map((tab) => first(tab, "join")?.client)).not.toContain(first(early, "join")?.client);
  now.mockReturnValue(NOW + LEASE_MS);
  const late = open().tab;
  await late.join(joined(0, 0, false, true));
  expect(first(late, "join")?.client).toBe(own);
  await vi.waitFor(() => expect(first(late, "action")?.number).toBe(1));
});

test("SPEC 9.5: a tab that slept for longer than its lease says no number that another one may have used, and starts anew", async () => {
  const open = withoutLocks();
  const now = vi.spyOn(Date, "now").mockReturnValue(NOW);
  const sleeper = open().tab;
  await sleeper.join(...EMPTY);
  sleeper.act("a");
  await until(
    () => sleeper.actions(),
    (sent) => sent.length === 1,
  );
  const own = first(sleeper, "join")?.client;
  now.mockReturnValue(NOW + LEASE_MS);
  const next = open().tab;
  await next.join(joined(0, 0, false, true));
  expect(first(next, "join")?.client).toBe(own);
  sleeper.sent = [];
  sleeper.act("b");
  await until(
    () => sleeper.fates,
    (fates) => fates.length === 2,
  );
  expect(sleeper.fates.map(([key, fate]) => [key, fate])).toEqual([
    ["a", "unknown"],
    ["b", "unknown"],
  ]);
  expect(sleeper.keeps).toBe(false);
  await sleeper.join(...EMPTY);
  expect(first(sleeper, "action")).toBeUndefined();
  expect(first(sleeper, "join")?.client).not.toBe(own);
});

test("SLOTS: as many tabs keep a room as may, and one more has it in memory", async () => {
  const open = withoutLocks();
  for (let i = 0; i < SLOTS; i++) {
    const { tab } = open();
    await tab.join(...EMPTY);
    expect(tab.keeps).toBe(true);
  }
  const { tab } = open();
  await tab.join(...EMPTY);
  expect([tab.keeps, String(tab.why)]).toEqual([false, expect.stringContaining("As many tabs")]);
});

test("KEPT_ROOMS: without Web Locks a room that a tab holds stays", async () => {
  const open = withoutLocks();
  const before = open().tab;
  await before.join(...EMPTY);
  await before.close();
  const now = Date.now();
  vi.spyOn(Date, "now").mockReturnValue(now);
  await keepOthers(KEPT_ROOMS + 1);
  for (let i = 2; i <= KEPT_ROOMS; i++) {
    await stored("clients", (store) => store.put({ usedAt: now + i }, `room ${i}`));
  }
  await stored("clients", (store) => store.put({ owner: "somebody", usedAt: now - LEASE_MS + 1 }, "held"));
  await stored("clients", (store) => store.put({ owner: "somebody", usedAt: now - LEASE_MS }, "over"));
  const opened = open();
  await vi.waitFor(async () => expect([await records("room 1"), await records("over")].flat()).toEqual([0, 0, 0, 0]));
  expect(await records("held")).toEqual([1, 0]);
  await opened.tab.close();
});
