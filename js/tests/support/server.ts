// The todo example's server, started for a test: a process of its own on fresh data, killed by its own handle.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

const ROOT = path.resolve(import.meta.dirname, "../../..");
const PROGRAM = path.resolve(ROOT, process.env.V1_TODO_BIN ?? "target/debug/v1-todo");

export class Server {
  /** Such as 127.0.0.1:4711; the same after a restart. */
  host = "127.0.0.1:0";
  readonly #folder: string;
  #process: ChildProcess | undefined;
  #stderr = "";

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async start(): Promise<Server> {
    const folder = await mkdtemp(path.join(tmpdir(), "partysync-js-"));
    // Its page, which these tests have no use for, and it does not start without.
    const files = ["index.html", "app.js", "room.js", "style.css"].map((file) => `web/${file}`);
    for (const file of [...files, "node_modules/partysocket/dist/index.js", "node_modules/partysocket/dist/ws.js"]) {
      await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
      await writeFile(path.join(folder, file), "");
    }
    const server = new Server(folder);
    await server.restart();
    return server;
  }

  /** Starts it again, on the same port and data. */
  async restart(): Promise<void> {
    const options = ["--listen", this.host, "--data", path.join(this.#folder, "data"), "--web", this.#folder];
    const child = spawn(PROGRAM, options, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    child.stderr.on("data", (bytes) => {
      this.#stderr += bytes;
    });
    this.host = await new Promise<string>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", () => reject(new Error(`${PROGRAM} ended: ${this.#stderr}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const host = /^listening on http:\/\/(.*)$/.exec(line)?.[1];
        if (host !== undefined) resolve(host);
      });
    });
  }

  /** SIGKILL: it has no moment to say good-bye. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  async end(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
    if (this.#stderr.includes("panicked at")) throw new Error(this.#stderr);
  }
}
