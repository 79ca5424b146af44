// The TypeScript client in a page that has nothing else: what a tab is told to do, and what it has.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("../../js/dist", import.meta.url));
const PAGE = "<!doctype html><title>client</title>";

/** Serves the page and the client, from another place than the rooms: so it opens when their server is gone, too. */
export class ClientSite {
  #server = createServer(serve);

  static async start() {
    const site = new ClientSite();
    site.#server.listen(0, "127.0.0.1");
    await once(site.#server, "listening");
    return site;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** The same as a browser sees a site without TLS that is not from its machine. */
  get insecureUrl() {
    return this.url.replace("127.0.0.1", "insecure.test");
  }

  /** Opens a tab in a room of a server. */
  async open(context, server, room, site = this.url) {
    const tab = new ClientTab(await context.newPage(), site, new URL(server).host, room);
    await tab.enter();
    return tab;
  }

  async stop() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

class ClientTab {
  #site;
  #place;

  constructor(page, site, host, room) {
    this.page = page;
    this.#site = site;
    this.#place = { host, room };
  }

  /** Loads the page, or loads it again. */
  async enter() {
    await this.page.goto(this.#site);
    await this.page.evaluate(async ({ host, room }) => {
      const { connect } = await import("/index.js");
      const reducer = (todos, { type, payload }) => {
        const others = todos.filter(([id]) => id !== payload.id);
        return type === "delete" ? others : [...others, [payload.id, payload.text, payload.completed, 0, 0, null]];
      };
      window.room = connect(host).room("todos", room);
      window.todos = window.room.channel("todos", { reducer });
      window.seen = [];
      window.told = [];
      window.todos.subscribe(() => window.seen.push(window.texts()));
      window.room.onSettled(({ fate }) => window.told.push(fate.status));
      window.texts = () => window.todos.rows.map(([, text]) => text).sort().join();
    }, this.#place);
  }

  /** Asks for a todo, and waits for nothing. */
  create(text) {
    return this.page.evaluate((text) => {
      void window.todos.send({ type: "create", payload: { id: text, text, completed: 0 } });
    }, text);
  }

  texts() {
    return this.page.evaluate(() => window.texts());
  }

  seen() {
    return this.page.evaluate(() => [...new Set(window.seen)]);
  }

  status() {
    return this.page.evaluate(() => {
      const { connection, pending, storage } = window.room.status;
      return `${connection}, ${pending} pending, ${storage}`;
    });
  }
}

async function serve(request, response) {
  const file = path.basename(new URL(request.url, "http://site").pathname);
  if (file === "") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  try {
    const body = await readFile(path.join(DIST, file));
    response.writeHead(200, { "content-type": "text/javascript" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}
