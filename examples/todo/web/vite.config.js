import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { defineConfig } from "vite";

/** Where `npm run dev` finds the rooms: the program of this example. */
const ROOMS = "http://127.0.0.1:8787";

export default defineConfig({
  plugins: [serviceWorker()],
  // The client is a folder beside this example, with a React of its own for its tests.
  resolve: { dedupe: ["react", "react-dom"] },
  server: { proxy: { "/parties": { target: ROOMS, ws: true } } },
});

/** Tells the service worker which files the page is made of, and makes it another one when they are others. */
function serviceWorker() {
  return {
    name: "service-worker",
    apply: "build",
    enforce: "post",
    generateBundle(_, bundle) {
      const files = Object.keys(bundle).filter((file) => file !== "index.html");
      const digest = createHash("sha256").update(readFileSync("index.html")).update(files.sort().join()).digest("hex");
      const source = readFileSync("service-worker.js", "utf8")
        .replace("__VERSION__", digest.slice(0, 8))
        .replace("__FILES__", JSON.stringify(["/", ...files.map((file) => `/${file}`)]));
      this.emitFile({ type: "asset", fileName: "service-worker.js", source });
    },
  };
}
