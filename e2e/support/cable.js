// A cable between a page and the server that a test can pull. It is plain TCP, so the page's own
// WebSocket and partysocket are what is tested; Playwright's setOffline leaves open sockets alone.

import { createServer, connect } from "node:net";
import { once } from "node:events";

export class Cable {
  #listener = null;
  #links = new Set(); // { page, server }: the two sockets of each connection
  #target;
  #port = 0;
  #holding = false;

  static async to(target) {
    const cable = new Cable();
    cable.#target = target;
    await cable.plug();
    return cable;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Connects can be made, on the same port as before. */
  async plug() {
    this.#listener = createServer((page) => this.#join(page));
    this.#listener.listen(this.#port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.#port = this.#listener.address().port;
  }

  /** Every connection breaks, and new ones are refused until `plug`. */
  async pull() {
    const closed = once(this.#listener, "close");
    this.#listener.close();
    for (const { page, server } of this.#links) {
      page.destroy();
      server.destroy();
    }
    await closed;
  }

  /** What the server says is kept back until `release`; what the page says still arrives. */
  hold() {
    this.#holding = true;
    for (const { server } of this.#links) server.pause();
  }

  release() {
    this.#holding = false;
    for (const { server } of this.#links) server.resume();
  }

  #join(page) {
    const server = connect(this.#target, "127.0.0.1");
    const link = { page, server };
    this.#links.add(link);
    page.pipe(server);
    // By hand: pipe() would itself resume what `hold` has paused.
    server.on("data", (bytes) => page.write(bytes));
    server.on("end", () => page.end());
    if (this.#holding) server.pause();
    for (const [socket, other] of [[page, server], [server, page]]) {
      socket.on("error", () => {}); // A broken socket is this file's purpose.
      socket.on("close", () => {
        other.destroy();
        this.#links.delete(link);
      });
    }
  }
}
