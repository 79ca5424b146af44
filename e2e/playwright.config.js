import { existsSync } from "node:fs";

import { defineConfig } from "@playwright/test";

const DEBIAN_CHROMIUM = "/usr/bin/chromium";

export default defineConfig({
  testDir: "tests",
  timeout: 60_000,
  // A page that lost its server tries again within 5 s; everything else is there in a blink.
  expect: { timeout: 10_000 },
  forbidOnly: Boolean(process.env.CI),
  // A test that passes at the second try has still failed a promise once.
  retries: 0,
  workers: 2,
  fullyParallel: true,
  reporter: "list",
  projects: [
    { name: "native" },
    // The todo example on Durable Objects: what its pages have of their room. How the page looks (`todo-looks`), and how fast it is with many todos
    // (`todo-many`), does not differ by where the room is.
    { name: "workerd", testMatch: /todo-(rooms|failures|frames|storms)\.spec\.js/, use: { home: "workerd" } },
  ],
  use: {
    browserName: "chromium",
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: chromium(),
      // Chromium's sandbox refuses to run as root, and only then may it be left out.
      chromiumSandbox: process.getuid?.() !== 0,
      args: [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // A name that is no `localhost`: without TLS its pages have no Web Locks.
        "--host-resolver-rules=MAP insecure.test 127.0.0.1",
      ],
    },
  },
});

/** Undefined leaves the choice to Playwright, which then wants a browser of its own. */
function chromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  return existsSync(DEBIAN_CHROMIUM) ? DEBIAN_CHROMIUM : undefined;
}
