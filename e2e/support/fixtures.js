// What a test starts from: a server of its own on a fresh data directory, and people who open rooms.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { test as base, expect } from "@playwright/test";

import { Cable } from "./cable.js";
import { Server } from "./server.js";
import { TodoPage } from "./todo-page.js";

export { expect };

export const test = base.extend({
  /** The example that is served, and by which home of its rooms. */
  example: "v1-todo",
  home: ["native", { option: true }],

  /** A fresh directory, gone after the test. */
  data: async ({}, use) => {
    const data = await mkdtemp(path.join(tmpdir(), "partysync-e2e-"));
    await use(data);
    await rm(data, { recursive: true, force: true });
  },

  /** `start(options)` starts a server on `data`; whatever still runs at the end is killed. */
  start: async ({ home, example, data }, use, testInfo) => {
    const servers = [];
    await use(async (options = {}) => {
      const server = await Server.start({ home, example, data, ...options });
      servers.push(server);
      return server;
    });
    const faults = servers.map((server) => server.fault()).filter((fault) => fault !== null);
    await Promise.all(servers.map((server) => server.kill()));
    const stderr = servers.map((server) => server.stderr).join("\n--- restarted ---\n");
    if (testInfo.status !== testInfo.expectedStatus) await testInfo.attach("stderr", { body: stderr });
    expect(faults, "the servers ran until they were told to stop").toEqual([]);
  },

  server: async ({ start }, use) => use(await start()),

  /** A cable to `server`, for a page that a test wants to cut off. */
  cable: async ({ server }, use) => {
    const cable = await Cable.to(server.port);
    await use(cable);
    await cable.pull().catch(() => {}); // Pulled already by the test.
  },

  /**
   * `join({ url, room, context })` opens the page and waits until it is live. Without a context it
   * is somebody else's browser; with one, another tab. Pages must not throw, at any time.
   */
  join: async ({ browser, contextOptions }, use) => {
    const contexts = [];
    const thrown = [];
    await use(async ({ url, room, context, options }) => {
      if (context === undefined) {
        context = await browser.newContext({ ...contextOptions, ...options });
        contexts.push(context);
      }
      const page = await context.newPage();
      page.on("pageerror", (error) => thrown.push(String(error)));
      const todos = new TodoPage(page);
      await todos.open(url, room);
      return todos;
    });
    await Promise.all(contexts.map((context) => context.close()));
    expect(thrown, "no page threw").toEqual([]);
  },
});
