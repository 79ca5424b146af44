// The page of an example on plain workerd: its files, and everything else is handed to the rooms. On Cloudflare the platform does it.

const TYPES = { html: "text/html", css: "text/css", js: "text/javascript" };

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (/^\/(parties|admin)\//.test(pathname)) return env.ROOMS.fetch(request);
    const path = pathname === "/" ? "/index.html" : pathname;
    const file = await env.FILES.fetch(new URL(path, "http://files"));
    const type = TYPES[path.split(".").at(-1)];
    if (!file.ok || type === undefined) return new Response("There is nothing here.", { status: 404 });
    // These have a digest of what is in them in their names.
    const keep = path.startsWith("/assets/") ? "max-age=31536000, immutable" : "no-cache";
    return new Response(file.body, { headers: { "content-type": `${type}; charset=utf-8`, "cache-control": keep } });
  },
};
