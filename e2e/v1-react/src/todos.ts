// What the app knows about its own rows and actions.

/** id, text, completed, created_at, updated_at, deleted_at */
export type Todo = [string, string, number, number, number, number | null];

export type Action =
  | { type: "create" | "update"; payload: { id: string; text: string; completed: number } }
  | { type: "delete"; payload: { id: string } };

/** The app's optimistic reducer: the rows as they will be once the action has run. */
export function predict(todos: Todo[], action: Action): Todo[] {
  const { type, payload } = action;
  const others = todos.filter(([id]) => id !== payload.id);
  if (type === "delete") return others;
  const now = Date.now();
  const predicted: Todo = [payload.id, payload.text, payload.completed, now, now, null];
  if (others.length === todos.length) return type === "create" ? [...todos, predicted] : todos;
  return todos.map((todo) => (todo[0] === payload.id ? predicted : todo));
}
