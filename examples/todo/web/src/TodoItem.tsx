import type { Sent } from "partysync-client";
import { memo, useCallback, useLayoutEffect, useRef, useState } from "react";

import type { Action, Todo } from "./room";

interface Props {
  todo: Todo;
  index: number;
  count: number;
  /** Pixels below the top of the list. */
  start: number;
  measure: (item: HTMLLIElement | null) => void;
  send: (action: Action) => Sent;
  /** Finds another place for the focus, which this item has and which goes; `typed` is what was being typed there. */
  moveFocus: (item: HTMLLIElement, typed: string | undefined) => void;
}

/** Drawn again when its own todo changes, or moves, and not when others do. */
export const TodoItem = memo(function TodoItem({ todo, index, count, start, measure, send, moveFocus }: Props) {
  /** What the field for the new text begins with, while there is one. */
  const [draft, setDraft] = useState<string>();
  const isEditing = draft !== undefined;
  const item = useRef<HTMLLIElement>(null);
  const ref = useCallback(
    (li: HTMLLIElement | null) => {
      item.current = li;
      measure(li);
    },
    [measure],
  );
  /** Whether the focus is to come back to where the editing began. */
  const isBack = useRef(false);
  const { id, text } = todo;

  useLayoutEffect(() => {
    if (isEditing || !isBack.current) return;
    isBack.current = false;
    item.current?.querySelector<HTMLElement>("[name=edit]")?.focus();
  }, [isEditing]);

  // Whoever deleted it: who works with the keyboard goes on at the same place.
  useLayoutEffect(() => {
    const li = item.current;
    return () => {
      const focused = document.activeElement as HTMLInputElement;
      if (!li?.contains(focused)) return;
      if (focused.name !== "text") return moveFocus(li, undefined);
      // The room says why it can't be changed.
      send({ type: "edit", payload: { id, text: focused.value } });
      moveFocus(li, focused.value);
    };
  }, [id, moveFocus, send]);

  const edit = async (edited: string) => {
    const fate = await send({ type: "edit", payload: { id, text: edited } });
    // What was typed is not lost: it can be mended.
    if (fate.status === "rejected") setDraft(edited);
  };

  return (
    <li
      ref={ref}
      className="todo"
      data-index={index}
      data-id={id}
      aria-busy={todo.isPending === true}
      aria-posinset={index + 1}
      aria-setsize={count}
      style={{ transform: `translateY(${start}px)` }}
    >
      {isEditing ? (
        <EditForm
          text={text}
          start={draft}
          close={(edited, byKey) => {
            if (edited !== text) edit(edited);
            isBack.current = byKey;
            setDraft(undefined);
          }}
        />
      ) : (
        <>
          <label>
            <input
              type="checkbox"
              name="completed"
              checked={todo.completed === 1}
              onChange={(event) => send({ type: "complete", payload: { id, completed: event.target.checked } })}
            />
            <span className="text" dir="auto">
              {text}
            </span>
          </label>
          <button type="button" name="edit" aria-label={`Edit ${text}`} onClick={() => setDraft(text)}>
            <Icon path="M3 13l1-4 7-7 3 3-7 7-4 1z" />
          </button>
          <button
            type="button"
            name="delete"
            aria-label={`Delete ${text}`}
            onClick={() => send({ type: "delete", payload: { id } })}
          >
            <Icon path="M4 4l8 8M12 4l-8 8" />
          </button>
        </>
      )}
    </li>
  );
});

interface EditProps {
  text: string;
  /** What the field begins with: the text, or what the room has refused. */
  start: string;
  /** With what the text is to be, and whether a key did it. */
  close: (text: string, byKey: boolean) => void;
}

/** Enter and leaving the field save, Escape does not. */
function EditForm({ text, start, close }: EditProps) {
  const [draft, setDraft] = useState(start);
  const field = useRef<HTMLInputElement>(null);
  const isClosed = useRef(false);

  // What had the focus is gone, for this field is in its place: else the person has gone on elsewhere.
  useLayoutEffect(() => {
    if (document.activeElement !== document.body) return;
    field.current?.focus();
    field.current?.select();
  }, []);

  const end = (edited: string, byKey: boolean) => {
    // The field loses the focus by being closed, too.
    if (isClosed.current) return;
    isClosed.current = true;
    close(edited, byKey);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        end(draft.trim(), true);
      }}
      onBlur={() => end(draft.trim(), false)}
    >
      <input
        ref={field}
        name="text"
        aria-label="New text"
        dir="auto"
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && end(text, true)}
        autoComplete="off"
        enterKeyHint="done"
      />
    </form>
  );
}

function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={path} fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
