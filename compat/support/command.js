// The command `partysync`, as an operator runs it.

import { execFile } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const COMPAT = fileURLToPath(new URL("..", import.meta.url));
const PROGRAM = path.resolve(COMPAT, process.env.PARTYSYNC_CLI ?? "../target/debug/partysync");
const TIMEOUT_MS = 60_000;

/** Starts it; `ended` is what it gave, and how it ended. */
export function started(token, ...args) {
  const env = token === undefined ? {} : { PARTYSYNC_ADMIN_TOKEN: token };
  let child;
  const ended = new Promise((resolve) => {
    child = execFile(PROGRAM, args, { env, timeout: TIMEOUT_MS, maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? error?.signal ?? 0, stdout, stderr }),
    );
  });
  return { child, ended };
}

/** Runs it to its end. */
export function partysync(token, ...args) {
  return started(token, ...args).ended;
}
