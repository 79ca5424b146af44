import { execFile } from "node:child_process";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const JS = join(ROOT, "js");
/** Below js/, so that its packages are found. */
const FOLDER = join(JS, "node_modules", ".guides");
const GUIDES = [
  "README.md",
  "docs/actions.md",
  "docs/auth.md",
  "docs/offline.md",
  "docs/typescript.md",
  "js/README.md",
];
/** What the guide to types has made of a room. */
const GENERATED = join(ROOT, "examples/todo/web/src/generated.ts");

/** A page's settings, as `npm create vite` makes them; the package is its source. */
const CONFIG = {
  compilerOptions: {
    target: "es2023",
    lib: ["ES2023", "DOM", "DOM.Iterable"],
    module: "esnext",
    moduleResolution: "bundler",
    moduleDetection: "force",
    verbatimModuleSyntax: true,
    jsx: "react-jsx",
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    types: [],
    paths: {
      "partysync-client": [join(JS, "src/index.ts")],
      "partysync-client/*": [join(JS, "src/*.ts")],
    },
  },
  include: ["*.tsx"],
};

test("the pages in README and the guides are valid TypeScript", async () => {
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  await writeFile(join(FOLDER, "tsconfig.json"), JSON.stringify(CONFIG));
  await copyFile(GENERATED, join(FOLDER, "generated.ts"));
  for (const guide of GUIDES) {
    const text = await readFile(join(ROOT, guide), "utf8");
    const blocks = [...text.matchAll(/^ *```tsx\n(.*?)^ *```$/gms)].map(([, code = ""]) => code);
    expect(blocks, `${guide} shows no code`).not.toEqual([]);
    const name = guide.replace(/\W/g, "-");
    await Promise.all(blocks.map((code, i) => writeFile(join(FOLDER, `${name}-${i}.tsx`), code)));
  }
  const tsc = join(JS, "node_modules", "typescript", "bin", "tsc");
  const checked = promisify(execFile)(process.execPath, [tsc, "-p", FOLDER]);
  expect(await checked.catch(({ stdout }) => ({ stdout }))).toMatchObject({ stdout: "" });
});
