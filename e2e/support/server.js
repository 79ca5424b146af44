// The server under test: one process, started on a data directory and killed by its own handle.

import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const E2E = fileURLToPath(new URL("..", import.meta.url));
// A relative path means the same wherever the tests are started from.
export const V1_TODO = path.resolve(E2E, process.env.V1_TODO_BIN ?? "../target/release/v1-todo");
export const TODO = path.resolve(E2E, process.env.TODO_BIN ?? "../target/release/todo");
const READY = /^listening on (http:\/\/127\.0\.0\.1:\d+)\s*$/;
const START_TIMEOUT_MS = 15_000;

export class Server {
  /** The origin that it serves, such as http://127.0.0.1:4711. */
  url;
  stderr = "";
  #binary;
  #process;
  #exited;
  #killed = false;

  /** Resolves when the server says that it listens. Port 0 takes any that is free. */
  static async start({ binary, data, port = 0 }) {
    const server = new Server();
    server.#binary = binary;
    await server.#start(["--listen", `127.0.0.1:${port}`, "--data", data]);
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

  /** SIGTERM, on which it finishes what it has begun; resolves when the process is gone. */
  async stop() {
    this.#killed = true;
    this.#process.kill("SIGTERM");
    await this.#exited;
  }

  /** Why this server is not to be trusted, or null: it ended by itself, or a thread of it panicked. */
  fault() {
    const { exitCode, signalCode } = this.#process;
    if (!this.#killed && (exitCode ?? signalCode) !== null) return this.#story("ended by itself");
    if (/panicked at/.test(this.stderr)) return this.#story("panicked");
    return null;
  }

  async #start(args) {
    this.#process = spawn(this.#binary, args, { stdio: ["ignore", "pipe", "pipe"] });
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
        const ready = READY.exec(line);
        if (ready === null) return;
        clearTimeout(timer);
        resolve(ready[1]);
      });
    });
  }

  #story(what) {
    return `${this.#binary} ${what}. Its stderr:\n${this.stderr || "(nothing)"}`;
  }
}
