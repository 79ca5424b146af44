import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { expect, test } from "vitest";

/** What a page may have to load of this package before it draws, gzipped, without React: store, connection and hooks. */
const FIRST_BYTES = 10_600;

/** The same with what keeps rooms on a device and among tabs, which is loaded after that. On a page without TLS a little more is. */
const ALL_BYTES = 14_000;

/** The size of all that the package gives, as a bundler makes it, but for what is left out. */
async function gzipped(...leftOut: string[]): Promise<number> {
  const resolveDir = fileURLToPath(new URL("../src", import.meta.url));
  const { outputFiles } = await build({
    stdin: { contents: 'export * from "./index.ts"; export * from "./react.ts";', resolveDir, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react", ...leftOut],
    write: false,
  });
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

test(`a page loads ${FIRST_BYTES} bytes or less, gzipped, before it draws, and ${ALL_BYTES} or less in all`, async () => {
  const [first, all] = await Promise.all([gzipped("./kept.js", "./alone.js"), gzipped("./alone.js")]);
  expect(first).toBeGreaterThan(5_000);
  expect(first).toBeLessThanOrEqual(FIRST_BYTES);
  expect(all).toBeGreaterThan(first + 1_000);
  expect(all).toBeLessThanOrEqual(ALL_BYTES);
});
