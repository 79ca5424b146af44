// @vitest-environment happy-dom

import { act, cleanup, render, screen } from "@testing-library/react";
import { memo, StrictMode, startTransition, useDeferredValue, useState } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Sent, SocketLike } from "../src/index.js";
import { useRow, useStatus, useSync } from "../src/react.js";
import { FakeSocket, row } from "./support/fake.js";
import { type Action, create, predict, predictObjects, type Todo, type TodoObject, update } from "./support/todos.js";

let socket: FakeSocket;
/** What each list that was drawn showed. */
let drawn: string[];

beforeEach(() => {
  socket = new FakeSocket();
  drawn = [];
});
afterEach(cleanup);

type Send = (action: Action) => Sent;
let send: Send;

function List({ on = socket }: { on?: SocketLike }) {
  const [todos, sendIt] = useSync<Todo, Action>("todos", on, predict);
  send = sendIt;
  const texts = todos.map(([, text]) => text);
  drawn.push(texts.join());
  return <p data-testid="list">{texts.join()}</p>;
}

/** Sends as a handler of an event does; the fate stands in an object, so that nobody waits for it here. */
async function sending(action: Action): Promise<{ fate: ReturnType<Send> }> {
  return await act(() => ({ fate: send(action) }));
}

const list = () => screen.getByTestId("list").textContent;

test("useSync gives rows, and a send function whose promise tells the fate", async () => {
  render(<List />);
  expect(list()).toBe("");
  await act(() => socket.open([row("a")]));
  expect(list()).toBe("a");
  const sent = await sending(create("b"));
  expect(list()).toBe("a,b");
  act(() => socket.ack(1, 2));
  act(() => socket.patch(1, [row("b")]));
  expect(list()).toBe("a,b");
  expect(await sent.fate).toEqual({ status: "synced", version: 2 });
  expect(drawn, "P6: the old list was never drawn again").toEqual(["", "a", "a,b", "a,b"]);
});

test("a rejected action goes from the list, and its promise says why", async () => {
  render(<List />);
  await act(() => socket.open());
  const sent = await sending(create("b"));
  expect(list()).toBe("b");
  const error = { code: "rejected", reason: "no", text: "Not today.", fault: "client", retry: "never" };
  act(() => socket.say({ type: "reject", room: socket.room, number: 1, error }));
  expect(list()).toBe("");
  expect(await sent.fate).toEqual({ status: "rejected", error });
});

test("a change to one row draws that row alone again", async () => {
  const count: Record<string, number> = {};
  const Item = memo(function Item({ todo }: { todo: Todo }) {
    count[todo[0]] = (count[todo[0]] ?? 0) + 1;
    return <li>{todo[1]}</li>;
  });
  function Items() {
    const [todos] = useSync<Todo, Action>("todos", socket, predict);
    return todos.map((todo) => <Item key={todo[0]} todo={todo} />);
  }
  const { container } = render(<Items />);
  await act(() => socket.open(["a", "b", "c"].map((id) => row(id))));
  act(() => socket.patch(1, [row("b", "changed")]));
  expect(container.textContent).toBe("achangedc");
  expect(count).toEqual({ a: 1, b: 2, c: 1 });
  // A new copy of everything, as after a reset, with one change.
  await act(() => socket.open([row("a"), row("b", "changed"), row("c", "new")]));
  expect(container.textContent).toBe("achangednew");
  expect(count).toEqual({ a: 1, b: 2, c: 2 });
});

test("a row that is predicted is not drawn again for another one's change", async () => {
  const count: Record<string, number> = {};
  const Item = memo(function Item({ todo }: { todo: Todo }) {
    count[todo[1]] = (count[todo[1]] ?? 0) + 1;
    return <li>{todo[1]}</li>;
  });
  function Items() {
    const [todos, sendIt] = useSync<Todo, Action>("todos", socket, predict);
    send = sendIt;
    return todos.map((todo) => <Item key={todo[0]} todo={todo} />);
  }
  render(<Items />);
  await act(() => socket.open([row("a"), row("b")]));
  await sending(update("a", "predicted"));
  act(() => socket.patch(1, [row("b", "changed")]));
  expect(count).toEqual({ a: 1, b: 1, predicted: 1, changed: 1 });
});

test("useRow draws its component when its row changes, and not for others", async () => {
  const seen: string[] = [];
  function One() {
    const todo = useRow<TodoObject, Action>("todos", socket, "b", predictObjects, { rows: "objects" });
    seen.push(todo?.text ?? "none");
    return null;
  }
  render(<One />);
  await act(() => socket.open([row("a"), row("b")]));
  act(() => socket.patch(1, [row("a", "changed")]));
  act(() => socket.patch(2, [row("b", "changed")], ["a"]));
  act(() => socket.patch(3, [], ["b"]));
  expect(seen).toEqual(["none", "b", "changed", "none"]);
});

test("useStatus tells what is pending, and how the connection is", async () => {
  const seen: string[] = [];
  function State() {
    const { connection, pending } = useStatus(socket);
    seen.push(`${connection} ${pending}`);
    return <List />;
  }
  render(<State />);
  await act(() => socket.open());
  act(() => void send(create("a")));
  act(() => socket.ack(1, 2));
  act(() => socket.patch(1, [row("a")]));
  act(() => socket.emit("close", { code: 1006 }));
  expect(seen).toEqual(["idle 0", "connecting 0", "live 0", "live 1", "live 0", "offline 0"]);
});

test("in strict mode the room is entered once", async () => {
  const { unmount } = render(<List />, { wrapper: StrictMode });
  await act(() => socket.open([row("a")]));
  expect(list()).toBe("a");
  expect(socket.types()).toEqual(["hello", "join"]);
  vi.useFakeTimers();
  unmount();
  vi.advanceTimersByTime(60_000);
  vi.useRealTimers();
  expect(socket.types()).toEqual(["hello", "join", "leave"]);
});

test("a reducer that is written inside of the component neither loops nor flickers", async () => {
  let renders = 0;
  function Inline() {
    renders += 1;
    const [todos, sendIt] = useSync<Todo, Action>("todos", socket, (rows, action) => predict(rows, action));
    send = sendIt;
    return <p data-testid="list">{todos.map(([, text]) => text).join()}</p>;
  }
  render(<Inline />);
  await act(() => socket.open([row("a")]));
  act(() => void send(update("a", "changed")));
  expect(list()).toBe("changed");
  act(() => socket.patch(1, [row("z")]));
  expect(list()).toBe("changed,z");
  expect(renders).toBeLessThan(10);
});

test("in a transition, and with a deferred value, no component shows another state than its neighbour", async () => {
  const torn: string[] = [];
  function Pair() {
    const [todos, sendIt] = useSync<Todo, Action>("todos", socket, predict);
    const [again] = useSync<Todo, Action>("todos", socket, predict);
    send = sendIt;
    const [, set] = useState(0);
    const late = useDeferredValue(todos);
    if (todos !== again) torn.push(`${todos.length} ${again.length}`);
    return (
      <button type="button" onClick={() => startTransition(() => set((n) => n + 1))}>
        {late.length}
      </button>
    );
  }
  render(<Pair />);
  await act(() => socket.open());
  act(() => {
    screen.getByRole("button").click();
    void send(create("a"));
    socket.patch(1, [row("z")]);
  });
  expect(screen.getByRole("button").textContent).toBe("2");
  expect(torn).toEqual([]);
});

test("on a server nothing is sent, listened to or shown; the page that takes over shows the rows", async () => {
  const html = renderToString(<List />);
  expect(html).toBe('<p data-testid="list"></p>');
  expect([socket.listeners, socket.sent]).toEqual([0, []]);
  const container = document.createElement("div");
  container.innerHTML = html;
  document.body.append(container);
  const errors: unknown[] = [];
  const root = await act(() => hydrateRoot(container, <List />, { onRecoverableError: (error) => errors.push(error) }));
  await act(() => socket.open([row("a")]));
  expect(list()).toBe("a");
  expect(errors).toEqual([]);
  act(() => root.unmount());
  container.remove();
});

test("another socket is another room", async () => {
  const other = new FakeSocket("todos/other");
  const { rerender } = render(<List />);
  await act(() => socket.open([row("a")]));
  rerender(<List on={other} />);
  expect(list()).toBe("");
  await act(() => other.open([row("b")]));
  expect(list()).toBe("b");
});
