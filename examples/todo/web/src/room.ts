// The room that this page is about: its name in the address, the connection, and what an action will do.

import { connect, type Prediction } from "partysync-client";

import type { Action, TodoRow } from "./generated";

export type { Action };

/** A todo as it is shown: pending until the room has confirmed all that was asked of it. */
export type Todo = TodoRow & { readonly isPending?: true };

export const CHANNEL = "todos";
export const ROWS = { rows: "objects" } as const;

export const roomName = nameIn(location.search);
export const room = connect(location.host).room("todos", roomName);
export const link = new URL(`/?room=${encodeURIComponent(roomName)}`, location.origin).href;

/**
 * What an action will do, shown until the room has done it. What a text must be is the room's rule alone: one that it refuses is shown,
 * then taken back. But a blank one would be nothing to see.
 */
export function predict(todos: Todo[], action: Action, { now }: Prediction): readonly Todo[] {
  switch (action.type) {
    case "create":
      return action.payload.text === "" ? todos : [...todos, created(action.payload, now)];
    case "edit":
      return changed(todos, action.payload.id, { text: action.payload.text });
    case "complete":
      return changed(todos, action.payload.id, { completed: action.payload.completed ? 1 : 0 });
    case "delete":
      return todos.filter((todo) => todo.id !== action.payload.id);
    case "tidy":
      return todos.filter((todo) => todo.completed === 0);
  }
}

/** Ids are the page's own: it can speak of a todo before the room knows it, offline too. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function created({ id, text }: { id: string; text: string }, now: number): Todo {
  return { id, text, completed: 0, created_at: now, updated_at: now, deleted_at: null, isPending: true };
}

function changed(todos: Todo[], id: string, change: Partial<Todo>): Todo[] {
  return todos.map((todo) => (todo.id === id ? { ...todo, ...change, isPending: true } : todo));
}

function nameIn(search: string): string {
  const name = new URLSearchParams(search).get("room")?.trim();
  // "." and ".." would be resolved away as parts of the socket's path.
  return !name || name === "." || name === ".." ? "lobby" : name;
}
