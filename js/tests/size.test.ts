import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { expect, test } from "vitest";

/** What a page may have to load of this package, gzipped, without React. */
const BYTES = 10_000;

/** The size of all that an entry needs, as a bundler makes it. */
async function gzipped(entry: string): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`../src/${entry}`, import.meta.url))],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    write: false,
  });
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

test(`the store is ${BYTES} bytes or less, gzipped`, async () => {
  const bytes = await gzipped("index.ts");
  expect(bytes).toBeGreaterThan(1_000);
  expect(bytes).toBeLessThanOrEqual(BYTES);
});
