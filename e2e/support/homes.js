// The homes of an example's rooms: how each is started on a data directory, how it says that it listens, and how it is told to stop.

import path from "node:path";
import { fileURLToPath } from "node:url";

const E2E = fileURLToPath(new URL("..", import.meta.url));

export const HOMES = {
  /** The program: that of the examples whose name is given. */
  native: {
    command: (example, data, port) => {
      const variable = `${example.replace("-", "_").toUpperCase()}_BIN`;
      // A relative path means the same wherever the tests are started from.
      const program = path.resolve(E2E, process.env[variable] ?? `../target/release/${example}`);
      return [program, "--listen", `127.0.0.1:${port}`, "--data", data];
    },
    ready: /^listening on http:\/\/127\.0\.0\.1:(\d+)\s*$/,
    /** It finishes what it has begun. */
    stop: "SIGTERM",
    fault: /panicked at/,
  },

  /** workerd with the example's worker and page, as `scripts/start-worker --build` leaves them. */
  workerd: {
    command: (example, data, port) => {
      const worker = path.resolve(E2E, `../examples/${example}/worker`);
      const folders = [`--directory-path=data=${data}`, `--directory-path=page-files=${worker}/page`];
      const listen = ["--control-fd=1", `--socket-addr=http=127.0.0.1:${port}`];
      return [workerd(), "serve", "--experimental", ...listen, ...folders, `${worker}/config.capnp`];
    },
    ready: /"event":"listen","socket":"http","port":(\d+)/,
    /** An object has no orderly end: it is gone when the platform wants it. On SIGTERM workerd waits for sockets. */
    stop: "SIGKILL",
    fault: /panicked|uncaught exception/i,
  },
};

/** The workerd that PARTYSYNC_WORKERD names, else the one that npm installed for the tests of `crates/worker`. */
function workerd() {
  const machine = `${process.platform}-${process.arch === "x64" ? "64" : process.arch}`;
  const installed = `../crates/worker/node_modules/@cloudflare/workerd-${machine}/bin/workerd`;
  return path.resolve(E2E, process.env.PARTYSYNC_WORKERD ?? installed);
}
