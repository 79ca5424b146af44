// Requests that a WebSocket client would not make.

import { request } from "node:http";

const UPGRADE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
};

/** The status that a path is answered with, asked for as a page is or, with `upgrade`, as a socket is. */
export function status(server, path, { upgrade = false } = {}) {
  return new Promise((resolve, reject) => {
    const [host, port] = server.host.split(":");
    const asked = request({ host, port, path, headers: upgrade ? UPGRADE : {} });
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(response.statusCode);
    });
    asked.on("error", reject);
    asked.end();
  });
}
