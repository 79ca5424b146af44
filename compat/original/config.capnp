using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    # Named on the command line: --directory-path=disk=FOLDER.
    (name = "disk", disk = (path = "disk", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [(name = "model.js", esModule = embed "model.js")],
  compatibilityDate = "2025-12-17",
  durableObjectNamespaces = [(className = "ToDos", uniqueKey = "todos", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  # The party's name is the binding's in kebab case, not the class's.
  bindings = [(name = "Todos", durableObjectNamespace = "ToDos")],
);
