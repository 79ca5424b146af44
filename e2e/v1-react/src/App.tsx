// The page that a user of the original would write around the hook, as plain as it can be.

import { useEffect, useState, type SubmitEvent } from "react";
import usePartySocket from "partysocket/react";

import { predict, type Action, type Todo } from "./todos";
import { useSync } from "./use-sync";

declare global {
  interface Window {
    /** Sends an action as a button of the page would: for tests that send many. */
    send(action: Action): void;
  }
}

export function App({ host, room }: { host: string; room: string }) {
  const [open, setOpen] = useState(false);
  const socket = usePartySocket({
    host,
    party: "todos",
    room: encodeURIComponent(room),
    onOpen: () => setOpen(true),
    onClose: () => setOpen(false),
  });
  const [todos, send] = useSync<Todo, Action>("todos", socket, predict);
  const errors = useErrors();
  window.send = send;
  return (
    <main>
      <h1>Todos in {room}</h1>
      <p role="status">{open ? "Connected" : "Not connected"}</p>
      <AddForm onAdd={(text) => send({ type: "create", payload: { id: crypto.randomUUID(), text, completed: 0 } })} />
      <ul aria-label="Errors">{errors.map((error, index) => <li key={index}>{error}</li>)}</ul>
      <ul aria-label="Todos">
        {todos.map((todo) => <Item key={todo[0]} todo={todo} send={send} />)}
      </ul>
    </main>
  );
}

function AddForm({ onAdd }: { onAdd: (text: string) => void }) {
  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    onAdd(String(new FormData(form).get("text")));
    form.reset();
  };
  return (
    <form onSubmit={submit}>
      <input name="text" aria-label="What needs doing?" autoComplete="off" /> <button>Add</button>
    </form>
  );
}

function Item({ todo, send }: { todo: Todo; send: (action: Action) => void }) {
  const [id, text, completed] = todo;
  const toggle = () => send({ type: "update", payload: { id, text, completed: completed ? 0 : 1 } });
  return (
    <li data-id={id}>
      <input type="checkbox" aria-label={text} checked={Boolean(completed)} onChange={toggle} />
      <span>{text}</span>
      <button aria-label={`Delete ${text}`} onClick={() => send({ type: "delete", payload: { id } })}>
        Delete
      </button>
    </li>
  );
}

/** What went wrong in transitions: React reports it to the window, since nobody else waits for them. */
function useErrors(): string[] {
  const [errors, setErrors] = useState<string[]>([]);
  useEffect(() => {
    const add = (event: ErrorEvent) => setErrors((errors) => [...errors, String(event.error?.message ?? event.message)]);
    window.addEventListener("error", add);
    return () => window.removeEventListener("error", add);
  }, []);
  return errors;
}
