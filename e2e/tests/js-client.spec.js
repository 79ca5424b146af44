// The TypeScript client where it lives: with the browser's own IndexedDB, Web Locks, BroadcastChannel and WebSocket.

import { ClientSite } from "../support/js-client.js";
import { expect, test as base } from "../support/fixtures.js";

const test = base.extend({
  site: async ({}, use) => {
    const site = await ClientSite.start();
    await use(site);
    await site.stop();
  },
});

const shows = (tab, texts) => expect.poll(() => tab.texts()).toBe(texts);
const is = (tab, status) => expect.poll(() => tab.status(), { timeout: 30_000 }).toBe(status);

test("SPEC 9.4: what is asked for offline outlives its tab, and goes out once", async ({ start, site, browser }) => {
  const server = await start();
  const [ann, bob] = [await browser.newContext(), await browser.newContext()];
  const tab = await site.open(ann, server.url, "offline");
  await is(tab, "live, 0 pending, kept");
  await tab.create("a");
  await is(tab, "live, 0 pending, kept");
  await server.kill();
  await is(tab, "offline, 0 pending, kept");
  await tab.create("b");
  await tab.create("c");
  await is(tab, "offline, 2 pending, kept");
  await tab.page.close({ runBeforeUnload: false });

  const again = await site.open(ann, server.url, "offline");
  await shows(again, "a,b,c");
  await is(again, "offline, 2 pending, kept");
  await start({ port: server.port });
  await is(again, "live, 0 pending, kept");
  // A todo is made once: a second `create` of the same id is refused.
  expect(await again.page.evaluate(() => window.told)).toEqual(["synced", "synced"]);
  const other = await site.open(bob, server.url, "offline");
  await shows(other, "a,b,c");
  await Promise.all([ann.close(), bob.close()]);
});

test("tabs of one browser are one client: one leads, and another one when it is closed or crashes", async ({ server, site, browser }) => {
  const context = await browser.newContext();
  const sockets = [];
  context.on("page", (page) => page.on("websocket", (socket) => sockets.push(socket)));
  const first = await site.open(context, server.url, "tabs");
  await is(first, "live, 0 pending, kept");
  const [second, third] = [await site.open(context, server.url, "tabs"), await site.open(context, server.url, "tabs")];
  await second.create("b");
  for (const tab of [first, second, third]) await shows(tab, "b");
  for (const tab of [first, second, third]) await is(tab, "live, 0 pending, kept");
  expect(sockets.length).toBe(1);
  expect(await second.seen(), "P6: shown at once, and never gone").toEqual(["b"]);
  await first.page.close({ runBeforeUnload: false });
  await second.create("c");
  await third.create("d");
  for (const tab of [second, third]) await is(tab, "live, 0 pending, kept");
  for (const tab of [second, third]) await shows(tab, "b,c,d");
  await third.enter();
  await shows(third, "b,c,d");
  await context.close();
});

test("a page shows what it has kept before it is connected", async ({ start, site, browser }) => {
  const server = await start();
  const context = await browser.newContext();
  const tab = await site.open(context, server.url, "kept");
  await is(tab, "live, 0 pending, kept");
  for (let i = 0; i < 20; i++) await tab.create(`todo ${i}`);
  await is(tab, "live, 0 pending, kept");
  const texts = await tab.texts();
  // Rows are stored a little later than the queue.
  await expect.poll(() => storedRows(tab)).toBe(20);
  await server.kill();
  await tab.enter();
  await shows(tab, texts);
  await context.close();
});

test("`online` brings a page back at once that was to wait for long", async ({ start, site, browser }) => {
  const server = await start();
  const context = await browser.newContext();
  const tab = await site.open(context, server.url, "online");
  await tab.page.evaluate(() => {
    // The longest delays there are.
    Math.random = () => 1;
  });
  await is(tab, "live, 0 pending, kept");
  await server.kill();
  await is(tab, "offline, 0 pending, kept");
  await start({ port: server.port });
  const before = Date.now();
  await tab.page.evaluate(() => dispatchEvent(new Event("online")));
  await is(tab, "live, 0 pending, kept");
  expect(Date.now() - before).toBeLessThan(3_000);
  await context.close();
});

test("SPEC 9.4, 9.5: without Web Locks each tab is a client of its own, and what it was asked for offline outlives it, once", async ({ start, site, browser }) => {
  const server = await start();
  const context = await browser.newContext();
  const open = () => site.open(context, server.url, "insecure", site.insecureUrl);
  const [reloaded, closed] = [await open(), await open()];
  for (const tab of [reloaded, closed]) await is(tab, "live, 0 pending, kept");
  expect(await reloaded.page.evaluate(() => [isSecureContext, navigator.locks === undefined])).toEqual([false, true]);
  await server.kill();
  for (const [tab, text] of [[reloaded, "a"], [closed, "b"]]) {
    await is(tab, "offline, 0 pending, kept");
    await tab.create(text);
    await is(tab, "offline, 1 pending, kept");
  }
  await reloaded.enter();
  await shows(reloaded, "a");
  await is(reloaded, "offline, 1 pending, kept");
  await closed.page.close({ runBeforeUnload: false });
  await start({ port: server.port });
  await is(reloaded, "live, 0 pending, kept");
  expect(await reloaded.page.evaluate(() => window.told)).toEqual(["synced"]);
  await shows(reloaded, "a");

  // Minutes later, by its clock: what the closed tab had left goes out.
  await context.addInitScript(() => {
    const now = Date.now;
    Date.now = () => now() + 300_000;
  });
  const later = await open();
  for (const tab of [later, reloaded]) await shows(tab, "a,b");
  await is(later, "live, 0 pending, kept");
  expect(await later.page.evaluate(() => window.told)).toEqual(["synced"]);
  await context.close();
});

/** How many rows IndexedDB holds. */
function storedRows(tab) {
  return tab.page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open("partysync");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const db = opening.result;
          const all = db.transaction("rows").objectStore("rows").getAll();
          all.onerror = () => reject(all.error);
          all.onsuccess = () => {
            db.close();
            resolve(all.result.flat().length);
          };
        };
      }),
  );
}
