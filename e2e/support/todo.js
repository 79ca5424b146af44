// The todo example as a person meets it: by roles and names, so that what is tested is also accessible.

import { test as base, expect } from "./fixtures.js";

export { expect };
export { RawClient, versionOf } from "./raw-client.js";

export const test = base.extend({
  example: "todo",

  /**
   * `join({ url, room, context })` opens the page and waits until it is live. Without a context it is somebody else's browser; with one,
   * another tab. Pages must not throw, at any time.
   */
  join: async ({ browser, contextOptions }, use) => {
    const contexts = [];
    const thrown = [];
    await use(async ({ url, room, context, options, isLive = true }) => {
      if (context === undefined) {
        context = await browser.newContext({ ...contextOptions, ...options });
        contexts.push(context);
      }
      const page = await context.newPage();
      page.on("pageerror", (error) => thrown.push(String(error)));
      const todo = new TodoApp(page);
      await todo.open(url, room);
      if (isLive) await todo.isLive();
      return todo;
    });
    await Promise.all(contexts.map((context) => context.close()));
    expect(thrown, "no page threw").toEqual([]);
  },
});

export class TodoApp {
  constructor(page) {
    this.page = page;
    this.field = page.getByLabel("What needs doing?");
    this.todos = page.getByRole("list", { name: "Todos" }).getByRole("listitem");
    this.problems = page.getByRole("region", { name: "Problems" }).getByRole("listitem");
    this.status = page.getByRole("status");
  }

  open(url, room = "home") {
    return this.page.goto(`${url}/?room=${encodeURIComponent(room)}`);
  }

  /** Connected, and all that was asked for is done. A page that lost its server tries again within 30 s. */
  isLive() {
    return expect(this.status).toHaveText("Live", { timeout: 45_000 });
  }

  /** Cut off, with so many changes that wait. */
  isOffline(changes = 0) {
    const waiting = changes === 1 ? "1 change will be sent later" : `${changes} changes will be sent later`;
    return expect(this.status).toHaveText(changes === 0 ? "Offline: you can go on" : `Offline: ${waiting}`, {
      timeout: 20_000,
    });
  }

  /** The page is kept: it opens without its server. */
  isKept() {
    return this.page.evaluate(async () => {
      await navigator.serviceWorker.ready;
    });
  }

  /** The texts on the page are these, the newest first, and the room has confirmed each. */
  async shows(...texts) {
    await expect(this.todos).toHaveText(texts);
    await expect(this.page.locator("[aria-busy=true]")).toHaveCount(0);
  }

  /** The same, whatever is confirmed. */
  has(...texts) {
    return expect(this.todos).toHaveText(texts);
  }

  todo(text) {
    return this.todos.filter({ hasText: text });
  }

  checkbox(text) {
    return this.page.getByRole("checkbox", { name: text, exact: true });
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  async add(text) {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  delete(text) {
    return this.button(`Delete ${text}`).click();
  }

  async edit(text, to) {
    await this.button(`Edit ${text}`).click();
    await this.page.getByRole("textbox", { name: "New text" }).fill(to);
    await this.page.keyboard.press("Enter");
  }
}
