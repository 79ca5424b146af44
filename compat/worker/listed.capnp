# As config.capnp, with origins whose pages may come in, and a secret that is not set.
using Workerd = import "/workerd/workerd.capnp";
using Bundle = import "modules.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "disk", disk = (path = "disk", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = Bundle.modules,
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [(className = "Room", uniqueKey = "rooms", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [
    (name = "ROOMS", durableObjectNamespace = "Room"),
    (name = "ORIGINS", text = "https://example.com https://*.example.org"),
    (name = "ADMIN_TOKEN", fromEnvironment = "PARTYSYNC_VARIABLE_THAT_IS_NOT_SET"),
  ],
);
