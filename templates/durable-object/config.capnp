# For `mkdir -p data && workerd serve --experimental --directory-path=data=data config.capnp`: the same without wrangler.
using Workerd = import "/workerd/workerd.capnp";
using Bundle = import "bundle/modules.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .rooms),
    (name = "data", disk = (path = "data", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "main")],
);

const rooms :Workerd.Worker = (
  modules = Bundle.modules,
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [(className = "Room", uniqueKey = "rooms", enableSql = true)],
  durableObjectStorage = (localDisk = "data"),
  bindings = [(name = "ROOMS", durableObjectNamespace = "Room")],
);
