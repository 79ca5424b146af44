import { useStatus, useSync } from "partysync-client/react";
import { useCallback, useRef, useState } from "react";

import { AddForm } from "./AddForm";
import { Device } from "./Device";
import { Header } from "./Header";
import { Problems } from "./Problems";
import { type Action, CHANNEL, newId, predict, ROWS, room, type Todo } from "./room";
import { TodoList } from "./TodoList";

export function App() {
  const [todos, send] = useSync<Todo, Action>(CHANNEL, room, predict, ROWS);
  const status = useStatus(room);
  const [draft, setDraft] = useState("");
  const field = useRef<HTMLInputElement>(null);

  const add = async () => {
    const text = draft.trim();
    setDraft("");
    field.current?.focus();
    const fate = await send({ type: "create", payload: { id: newId(), text } });
    // What was typed is not lost: it can be mended.
    if (fate.status === "rejected") setDraft((other) => other || text);
  };

  /** Whoever was at a control that goes, or typed into it, goes on in the field above. */
  const goOn = useCallback((typed = "") => {
    if (typed !== "") setDraft((other) => other || typed);
    field.current?.focus({ preventScroll: true });
  }, []);
  const tidy = () => {
    send({ type: "tidy" });
    goOn();
  };
  const dismiss = () => {
    room.dismiss();
    goOn();
  };

  return (
    <>
      <Header status={status} />
      <main>
        <div className="top">
          <AddForm ref={field} draft={draft} setDraft={setDraft} add={add} />
          <Problems problems={status.problems} dismiss={dismiss} />
        </div>
        <TodoList todos={todos} send={send} goOn={goOn} />
        {todos.length === 0 && <p className="empty">{emptiness(status.connection)}</p>}
        <Left todos={todos} tidy={tidy} />
      </main>
      <Device status={status} />
    </>
  );
}

/** What a list without todos says: whether there are any is known only from the room. */
function emptiness(connection: string): string {
  if (connection === "live") return "Nothing to do. Add the first thing above.";
  return connection === "offline" ? "This list is not on this device yet. You can add to it all the same." : "Loading…";
}

function Left({ todos, tidy }: { todos: readonly Todo[]; tidy: () => void }) {
  const done = todos.reduce((count, todo) => count + todo.completed, 0);
  return (
    <div className="left">
      <p aria-live="polite">{todos.length > 0 && `${todos.length - done} of ${todos.length} left`}</p>
      {done > 0 && (
        <button type="button" onClick={tidy}>
          Delete what is done ({done})
        </button>
      )}
    </div>
  );
}
