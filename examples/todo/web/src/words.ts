// What the page says of the connection, and of what went wrong.

import type { Problem, Status } from "partysync-client";

import type { Action, Todo } from "./room";

/** Characters of a todo's text that a sentence has room for. */
const SHORT = 40;

/** How it stands with the room. */
export function standing({ connection, pending, refusal }: Status): string {
  const changes = pending === 1 ? "1 change" : `${pending} changes`;
  switch (connection) {
    case "live":
      return pending === 0 ? "Live" : `Saving ${changes}…`;
    case "offline":
      return pending === 0 ? "Offline: you can go on" : `Offline: ${changes} will be sent later`;
    case "refused":
      return `No entry: ${refusal?.text ?? "the server refuses this page."}`;
    default:
      return "Connecting…";
  }
}

/** What became of an action that was not done, or another problem. */
export function story({ action, error, status }: Problem, todo: (id: string) => Todo | undefined): string {
  if (action === undefined) return error.text;
  const [what, was] = deed(action as Action, todo);
  if (status === "unknown") return `Nobody knows whether ${what} ${was}: ${error.text}`;
  return `${upperFirst(what)} ${was.replace("was", "was not").replace("were", "were not")}: ${error.text}`;
}

function deed(action: Action, todo: (id: string) => Todo | undefined): [what: string, was: string] {
  const named = (id: string) => quoted(todo(id)?.text, "a todo");
  switch (action.type) {
    case "create":
      return [quoted(action.payload.text, "a todo"), "was added"];
    case "edit":
      return [named(action.payload.id), `was changed to ${quoted(action.payload.text, "nothing")}`];
    case "complete":
      return [named(action.payload.id), action.payload.completed ? "was ticked" : "was unticked"];
    case "delete":
      return [named(action.payload.id), "was deleted"];
    case "tidy":
      return ["what is done", "was deleted"];
  }
}

function quoted(text: string | undefined, nothing: string): string {
  if (!text) return nothing;
  const characters = [...text];
  return characters.length > SHORT ? `“${characters.slice(0, SHORT).join("")}…”` : `“${text}”`;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
