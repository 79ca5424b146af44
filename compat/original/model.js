// A model of the original partysync server and its todo fixture, faults included: see README.md. Never serve it to
// anybody: a client of it can run any SQL.

import { DurableObject } from "cloudflare:workers";

const DAY_MS = 24 * 60 * 60 * 1000;

// The router: what a request's path and upgrade make of it, before any room.

export default {
  async fetch(request, env) {
    const [prefix, party, room] = new URL(request.url).pathname.split("/").filter((part) => part !== "");
    if (prefix !== "parties" || room === undefined) return new Response("Not Found", { status: 404 });
    const binding = Object.keys(env).find((name) => kebab(name) === party);
    if (binding === undefined) return new Response("Invalid request", { status: 400 });
    // The room is the path's segment as it stands there, percent signs and all.
    return env[binding].get(env[binding].idFromName(room)).fetch(request);
  },
};

function kebab(name) {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`).replace(/^-/, "");
}

// The library: sockets, syncs, and what is made of an action's result.

class Room extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.onStart();
  }

  fetch(request) {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") {
      return new Response("Not implemented", { status: 404 });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    try {
      const id = new URL(request.url).searchParams.get("_pk") || crypto.randomUUID();
      if (id.length > 256) throw new Error("A connection tag must not exceed 256 characters");
      this.ctx.acceptWebSocket(server, [id]);
      server.serializeAttachment({ id });
    } catch (error) {
      // The stack goes to the client.
      server.accept();
      server.send(JSON.stringify({ error: error.stack }));
      server.close(1011, "Uncaught exception during session setup");
    }
    return new Response(null, { status: 101, webSocket: client });
  }

  async webSocketMessage(socket, text) {
    if (typeof text !== "string") return;
    let message;
    try {
      message = JSON.parse(text);
    } catch (error) {
      say(socket, { type: "exception", rpc: true, exception: [`Failed to parse message: ${error.message}`] });
      return;
    }
    // For `null` this throws, for `5` the next line does, and for an unknown channel the sync: the runtime logs it,
    // and nobody is answered.
    const { channel } = message;
    if ("sync" in message && message.sync) this.sync(socket, channel, message.from);
    else await this.act(socket, channel, message);
  }

  sync(socket, channel, from) {
    // Whatever the client calls its channel becomes SQL. Rows that were deleted are not mentioned, with `from` or
    // without; and what changed in the second that `from` names is left out.
    const live = `SELECT * FROM ${channel} WHERE deleted_at IS NULL`;
    const rows = from
      ? this.ctx.storage.sql.exec(`${live} AND updated_at > ?`, from)
      : this.ctx.storage.sql.exec(live);
    say(socket, { sync: true, channel, payload: [...rows.raw()] });
  }

  async act(socket, channel, { id, action }) {
    try {
      // No transaction, no memory of ids, and the channel is not looked at.
      const result = await this.onAction(channel, action);
      // Without a result JSON leaves the field out, and the broadcast's payload with it.
      say(socket, { type: "success", rpc: true, channel, id, result });
      this.broadcast({ broadcast: true, type: "update", channel, payload: result }, socket.deserializeAttachment().id);
    } catch (error) {
      say(socket, { type: "error", rpc: true, channel, id, error: [error.message] });
    }
  }

  /** To all whose id is not the sender's, be it one socket or several that have that id. */
  broadcast(message, sender) {
    for (const socket of this.ctx.getWebSockets()) {
      if (socket.deserializeAttachment()?.id !== sender) say(socket, message);
    }
  }

  webSocketClose(socket, code, reason) {
    // 1005, 1006 and 1015 stand for no code, and cannot be sent.
    if ([1005, 1006, 1015].includes(code)) return;
    try {
      socket.close(code, reason);
    } catch {
      // Closed already.
    }
  }
}

function say(socket, message) {
  try {
    socket.send(JSON.stringify(message));
  } catch {
    socket.close(1011, "Unexpected error");
  }
}

// The app: a todo list, and a table that no client is meant to see.

export class ToDos extends Room {
  onStart() {
    // Says INTEGER, and holds texts: CURRENT_TIMESTAMP is one, in whole seconds.
    this.sql(`CREATE TABLE IF NOT EXISTS todos (
      id TEXT PRIMARY KEY NOT NULL,
      text TEXT NOT NULL,
      completed INTEGER NOT NULL,
      created_at INTEGER NOT NULL DEFAULT CURRENT_TIMESTAMP,
      updated_at INTEGER NOT NULL DEFAULT CURRENT_TIMESTAMP,
      deleted_at INTEGER DEFAULT NULL
    )`);
    this.sql("CREATE TABLE IF NOT EXISTS secrets (word TEXT PRIMARY KEY)");
    this.sql("INSERT OR IGNORE INTO secrets VALUES ('swordfish')");
  }

  async onAction(_channel, { type, payload }) {
    if (type === "create") return this.create(payload);
    if (type === "createAll") return payload.todos.flatMap((todo) => this.create(todo));
    if (type === "update") {
      const set = "SET text = ?, completed = ?, updated_at = CURRENT_TIMESTAMP";
      return this.change(`UPDATE todos ${set} WHERE id = ? RETURNING *`, payload.text, payload.completed, payload.id);
    }
    if (type === "delete") {
      if (!payload.id) throw new Error("id is required");
      return this.change("UPDATE todos SET deleted_at = CURRENT_TIMESTAMP WHERE id = ? RETURNING *", payload.id);
    }
    // Any other type: no result, and no error.
  }

  create({ id, text, completed }) {
    return this.change("INSERT INTO todos (id, text, completed) VALUES (?, ?, ?) RETURNING *", id, text, completed);
  }

  change(sql, ...values) {
    this.ctx.storage.setAlarm(Date.now() + DAY_MS);
    return this.sql(sql, ...values);
  }

  sql(sql, ...values) {
    return [...this.ctx.storage.sql.exec(sql, ...values).raw()];
  }

  alarm() {
    // A text is never less than a number in SQLite, so this deletes nothing.
    this.sql("DELETE FROM todos WHERE deleted_at < ?", Date.now() - DAY_MS);
  }
}
