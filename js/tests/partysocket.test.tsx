// @vitest-environment happy-dom

// The hook on partysocket's own hook, as a front end of the original has it, against a real server.

import { act, cleanup, render, screen, waitFor } from "@testing-library/react";
import usePartySocket from "partysocket/react";
import { StrictMode } from "react";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";

import type { Sent } from "../src/index.js";
import { useStatus, useSync } from "../src/react.js";
import { Server } from "./support/server.js";
import { type Action, create, predict, type Todo } from "./support/todos.js";

let server: Server;
let send: (action: Action) => Sent;
let reconnect: () => void;

beforeAll(async () => {
  server = await Server.start();
});
afterEach(cleanup);
afterAll(() => server.end());

function Todos({ room, query }: { room: string; query?: Record<string, string> }) {
  const socket = usePartySocket({
    host: server.host,
    party: "todos",
    room,
    WebSocket,
    minReconnectionDelay: 50,
    ...(query ? { query } : {}),
  });
  const [todos, sendIt] = useSync<Todo, Action>("todos", socket, predict);
  const { connection, pending } = useStatus(socket);
  send = sendIt;
  reconnect = () => socket.reconnect();
  return <p role="status">{`${todos.map(([, text]) => text).join()} ${connection} ${pending}`}</p>;
}

const shows = (text: string) =>
  waitFor(() => expect(screen.getByRole("status").textContent).toBe(text), { timeout: 10_000 });

test("SPEC 8.2, 9.4: rows come, actions go, and a socket that breaks loses and doubles nothing, in strict mode, too", async () => {
  const { rerender } = render(<Todos room="react" />, { wrapper: StrictMode });
  act(() => void send(create("a")));
  await shows("a live 0");
  act(() => {
    reconnect();
    void send(create("b"));
  });
  await shows("a,b live 0");
  // Other options: partysocket makes another socket, in the same room.
  rerender(<Todos room="react" query={{ v: "2" }} />);
  await shows("a,b live 0");
  act(() => void send(create("c")));
  await shows("a,b,c live 0");
  rerender(<Todos room="other" />);
  await shows(" live 0");
});
