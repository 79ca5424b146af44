// The React page of version 1 (v1-react), served as it was built, and as a person meets it.

import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test as base } from "./fixtures.js";

export { RawClient } from "./raw-client.js";
export { expect };

const DIST = fileURLToPath(new URL("../v1-react/dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

export const test = base.extend({
  /** The origin that serves the page: not the server's, so that a page can be reloaded while that is away. */
  site: [
    async ({}, use) => {
      const listener = createServer(serve);
      listener.listen(0, "127.0.0.1");
      await once(listener, "listening");
      await use(`http://127.0.0.1:${listener.address().port}`);
      listener.closeAllConnections();
      listener.close();
    },
    { scope: "worker" },
  ],

  /** `open({ at, context })` opens room `home` at a server or cable; without a context in another's browser. */
  open: async ({ browser, site }, use) => {
    const contexts = [];
    await use(async ({ at, context, room = "home" }) => {
      if (context === undefined) {
        context = await browser.newContext();
        contexts.push(context);
      }
      const page = new V1Page(await context.newPage());
      await page.page.goto(`${site}/?host=${new URL(at.url).host}&room=${room}`);
      await page.isConnected();
      return page;
    });
    await Promise.all(contexts.map((context) => context.close()));
  },
});

export class V1Page {
  constructor(page) {
    this.page = page;
    this.todos = page.getByRole("list", { name: "Todos" }).locator("li span");
    this.errors = page.getByRole("list", { name: "Errors" }).getByRole("listitem");
    this.status = page.getByRole("status");
  }

  isConnected() {
    // partysocket waits up to 10 s between two tries.
    return expect(this.status).toHaveText("Connected", { timeout: 20_000 });
  }

  isCutOff() {
    return expect(this.status).toHaveText("Not connected");
  }

  async add(text) {
    await this.page.getByLabel("What needs doing?").fill(text);
    await this.page.getByRole("button", { name: "Add", exact: true }).click();
  }

  delete(text) {
    return this.page.getByRole("button", { name: `Delete ${text}`, exact: true }).click();
  }

  checkbox(text) {
    return this.page.getByRole("checkbox", { name: text, exact: true });
  }

  /** As many actions at once as there are in the list, as the page's buttons would send them. */
  send(...actions) {
    return this.page.evaluate((actions) => actions.forEach((action) => window.send(action)), actions);
  }

  /** What is on the screen, by id: [id, text, completed]; a row that is there twice is there twice. */
  rows() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("[data-id]")]
        .map((item) => [item.dataset.id, item.querySelector("span").textContent, Number(item.querySelector("input").checked)])
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  /** These texts are shown, in any order, nothing twice. */
  async shows(...texts) {
    const shown = async () => (await this.todos.allTextContents()).sort();
    // A reconnect may take 10 s, and what was missed is volunteered 5 s after that.
    await expect.poll(shown, { timeout: 30_000 }).toEqual([...texts].sort());
  }
}

async function serve(request, response) {
  const { pathname } = new URL(request.url, "http://site");
  const file = path.join(DIST, pathname === "/" ? "index.html" : path.posix.normalize(pathname));
  try {
    const body = await readFile(file);
    response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}
