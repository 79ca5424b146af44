// The server under test: one process, started on a data directory and killed by its own handle. It is the program itself, or workerd with the same
// app as a Durable Object.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { HOMES } from "./homes.js";

const START_TIMEOUT_MS = 15_000;

export class Server {
  /** The origin that it serves, such as http://127.0.0.1:4711. */
  url;
  stderr = "";
  #home;
  #program;
  #process;
  #exited;
  #killed = false;

  /** Resolves when the server of an example says that it listens. Port 0 takes any that is free. */
  static async start({ home, example, data, port = 0 }) {
    if (!(home in HOMES)) throw new Error(`${home} is no home of rooms`);
    const server = new Server();
    server.#home = HOMES[home];
    const [program, ...args] = server.#home.command(example, data, port);
    server.#program = program;
    await server.#start(args);
    return server;
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** SIGKILL, which leaves it no moment to save anything; resolves when the process is gone. */
  async kill() {
    this.#killed = true;
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  /** Tells it to stop, as its home is told; resolves when the process is gone. */
  async stop() {
    this.#killed = true;
    this.#process.kill(this.#home.stop);
    await this.#exited;
  }

  /** Why this server is not to be trusted, or null: it ended by itself, or a thread of it panicked. */
  fault() {
    const { exitCode, signalCode } = this.#process;
    if (!this.#killed && (exitCode ?? signalCode) !== null) return this.#story("ended by itself");
    if (this.#home.fault.test(this.stderr)) return this.#story("panicked");
    return null;
  }

  async #start(args) {
    this.#process = spawn(this.#program, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process.stderr.on("data", (bytes) => (this.stderr += bytes));
    // "close" rather than "exit": by then all of stderr has been read.
    this.#exited = new Promise((resolve) => this.#process.once("close", resolve));
    try {
      this.url = await this.#ready();
    } catch (error) {
      this.#process.kill("SIGKILL");
      throw error;
    }
  }

  #ready() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail("did not say that it listens"), START_TIMEOUT_MS);
      const fail = (what) => {
        clearTimeout(timer);
        reject(new Error(this.#story(what)));
      };
      this.#process.once("error", (error) => fail(`could not be started: ${error.message}`));
      this.#exited.then((code) => fail(`exited with ${code} before it listened`));
      createInterface({ input: this.#process.stdout }).on("line", (line) => {
        const ready = this.#home.ready.exec(line);
        if (ready === null) return;
        clearTimeout(timer);
        resolve(`http://127.0.0.1:${ready[1]}`);
      });
    });
  }

  #story(what) {
    return `${this.#program} ${what}. Its stderr:\n${this.stderr || "(nothing)"}`;
  }
}
