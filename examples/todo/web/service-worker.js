// Keeps the page's files, so that it opens without its server. The rows are kept by partysync-client.
// The build puts in which files these are.

const CACHE = "todo-__VERSION__";
const FILES = __FILES__;
/** How long the server may take to answer for the page before the one that is kept is shown. */
const PATIENCE_MS = 3_000;

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});

addEventListener("activate", (event) => {
  event.waitUntil(Promise.all([forgetOthers(), clients.claim()]));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (request.mode === "navigate" && pathname === "/") event.respondWith(page(request));
  else if (pathname.startsWith("/assets/")) event.respondWith(kept(request));
});

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
}

/** The server's, so that a new version is seen at once; else the one that is kept, whatever the room in its address is. */
async function page(request) {
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.ok) return response;
  } catch {
    // No server, or a slow one.
  }
  return (await caches.match("/")) ?? Response.error();
}

/** These have a digest of what is in them in their names: what is kept is what the server has. */
async function kept(request) {
  return (await caches.match(request)) ?? fetch(request);
}
