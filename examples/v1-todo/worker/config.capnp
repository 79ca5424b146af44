# The todo list on plain workerd: `scripts/start-worker --v1` makes `bundle` and `page` and runs this. Where the data lie is said on
# the command line; `--socket-addr` there has it listen elsewhere.
using Workerd = import "/workerd/workerd.capnp";
using Bundle = import "bundle/modules.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .page),
    (name = "rooms", worker = .rooms),
    (name = "page-files", disk = (path = "page")),
    (name = "data", disk = (path = "data", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "main")],
);

# What the platform does with the page's files: wrangler.jsonc has it as "assets".
const page :Workerd.Worker = (
  modules = [(name = "page.js", esModule = embed "../../workerd-page.js")],
  compatibilityDate = "2026-11-01",
  bindings = [
    (name = "ROOMS", service = "rooms"),
    (name = "FILES", service = "page-files"),
  ],
);

const rooms :Workerd.Worker = (
  modules = Bundle.modules,
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [(className = "Room", uniqueKey = "rooms", enableSql = true)],
  durableObjectStorage = (localDisk = "data"),
  bindings = [(name = "ROOMS", durableObjectNamespace = "Room")],
);
