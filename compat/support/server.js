// The servers that the tests talk to: each a process of its own on fresh data, killed by its own handle.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const COMPAT = fileURLToPath(new URL("..", import.meta.url));
const START_MS = 20_000;

/** None of them outlives the tests. */
const running = new Set();
process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Server {
  /** `ours`, `worker` or `original`. */
  name;
  /** Such as 127.0.0.1:4711. */
  host;
  /** Where the admin routes are, if there are any. */
  admin;
  stderr = "";
  #process;
  #gone;
  #data;
  #command;

  /** Ours; options such as `["--connection-rate", "20"]`. */
  static ours(...options) {
    // A relative path means the same wherever the tests are started from.
    const program = path.resolve(COMPAT, process.env.PARTYSYNC_COMPAT ?? "../target/debug/partysync-compat");
    return Server.#start("ours", program, (data) => ["--data", data, ...options]);
  }

  /** Ours on Durable Objects: the bundle that `scripts/test-worker` makes. */
  static worker(config = "config.capnp", variable = "PARTYSYNC_COMPAT_BUNDLE") {
    const bundle = process.env[variable];
    if (!bundle) throw new Error(`${variable} must name the bundle: run scripts/test worker`);
    return Server.#workerd("worker", path.resolve(COMPAT, bundle, config));
  }

  /** The template for a new project: the bundle that `scripts/test-worker` makes of it. It listens where its configuration says, but on any port. */
  static template(folder) {
    if (!folder) throw new Error("PARTYSYNC_TEMPLATES must name the built templates: run scripts/test worker");
    const config = path.join(folder, "config.capnp");
    return Server.#workerd("template", config, ["--socket-addr=http=127.0.0.1:0"], "data");
  }

  /** The model of the original. */
  static original() {
    return Server.#workerd("original", path.join(COMPAT, "original/config.capnp"));
  }

  static #workerd(name, config, more = [], disk = "disk") {
    const folder = (data) => {
      mkdirSync(path.join(data, disk));
      return `--directory-path=${disk}=${path.join(data, disk)}`;
    };
    return Server.#start(name, workerd(), (data) => ["serve", "--control-fd=1", folder(data), ...more, config]);
  }

  /** The files of the original's rooms, with the logs beside them. */
  async rooms() {
    const folder = path.join(this.#data, "disk/todos");
    const files = await readdir(folder);
    const isRoom = (file) => file.endsWith(".sqlite") && file !== "metadata.sqlite";
    return files.filter(isRoom).map((file) => path.join(folder, file));
  }

  /** SIGKILL, and another process on the same data; `meanwhile` is done while there is none. */
  async restart(meanwhile = () => {}) {
    this.#process.kill("SIGKILL");
    await this.#gone;
    await meanwhile();
    await this.#spawn();
  }

  /** SIGKILL, which leaves it no moment to save anything; its data goes too. */
  async kill() {
    this.#process.kill("SIGKILL");
    await this.#gone;
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Fails if it ended by itself, or if a thread of it panicked. */
  check() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) throw this.#story("ended by itself");
    if (/panicked/.test(this.stderr)) throw this.#story("panicked");
  }

  static async #start(name, program, args) {
    const server = new Server();
    server.name = name;
    server.#data = await mkdtemp(path.join(tmpdir(), "partysync-compat-"));
    server.#command = [program, args(server.#data)];
    await server.#spawn();
    return server;
  }

  async #spawn() {
    this.#process = spawn(...this.#command, { stdio: ["ignore", "pipe", "pipe"] });
    const started = this.#process;
    running.add(started);
    started.once("close", () => running.delete(started));
    started.stderr.on("data", (bytes) => (this.stderr += bytes));
    // "close" rather than "exit": by then all of stderr has been read.
    this.#gone = new Promise((resolve) => started.once("close", resolve));
    try {
      this.host = await this.#ready();
      if (this.name === "worker") this.admin = `http://${this.host}/admin`;
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  #ready() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(`did not say within ${START_MS} ms that it listens`), START_MS);
      const fail = (what) => {
        clearTimeout(timer);
        reject(this.#story(what));
      };
      this.#process.once("error", (error) => fail(`could not be started: ${error.message}`));
      this.#gone.then((code) => fail(`exited with ${code} before it listened`));
      createInterface({ input: this.#process.stdout }).on("line", (line) => {
        // Ours says it in words, workerd as JSON.
        this.admin = /^admin on (.*)$/.exec(line)?.[1] ?? this.admin;
        const port = /^listening on http:\/\/127\.0\.0\.1:(\d+)$|"event":"listen".*"port":(\d+)/.exec(line);
        if (port === null) return;
        clearTimeout(timer);
        resolve(`127.0.0.1:${port[1] ?? port[2]}`);
      });
    });
  }

  #story(what) {
    return new Error(`${this.name} ${what}. Its stderr:\n${this.stderr || "(nothing)"}`);
  }
}

/** The workerd that PARTYSYNC_WORKERD names, else the one that npm installed. */
function workerd() {
  if (process.env.PARTYSYNC_WORKERD) return process.env.PARTYSYNC_WORKERD;
  const machine = { x64: "64", arm64: "arm64" }[process.arch];
  const folder = path.join(COMPAT, `node_modules/@cloudflare/workerd-${process.platform}-${machine}`);
  const program = path.join(folder, "bin/workerd");
  if (!existsSync(program)) throw new Error(`no workerd for this machine in ${folder}: set PARTYSYNC_WORKERD to one`);
  return program;
}
