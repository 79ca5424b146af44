// The todo example's rows and actions, as an app has them.

export type Todo = [
  id: string,
  text: string,
  completed: number,
  created: number,
  updated: number,
  deleted: number | null,
];

export interface TodoObject {
  readonly id: string;
  readonly text: string;
  readonly completed: number;
}

export type Action =
  | { type: "create" | "update"; payload: { id: string; text: string; completed: number } }
  | { type: "delete"; payload: { id: string } };

export function create(id: string, text = id): Action {
  return { type: "create", payload: { id, text, completed: 0 } };
}

export function update(id: string, text: string, completed = 0): Action {
  return { type: "update", payload: { id, text, completed } };
}

/** The reducer as an app of version 1 has it. */
export function predict(todos: Todo[], { type, payload }: Action): Todo[] {
  const others = todos.filter(([id]) => id !== payload.id);
  if (type === "delete") return others;
  const todo: Todo = [payload.id, payload.text, payload.completed, 0, 0, null];
  if (type === "create") return [...todos, todo];
  return todos.map((old) => (old[0] === payload.id ? todo : old));
}

export function predictObjects(todos: TodoObject[], { type, payload }: Action): TodoObject[] {
  const others = todos.filter(({ id }) => id !== payload.id);
  if (type === "delete") return others;
  if (type === "create") return [...todos, payload];
  return todos.map((old) => (old.id === payload.id ? { ...old, ...payload } : old));
}

/** Waits until something is so; says what it was in the end if it never is. */
export async function until<T>(look: () => T, isSo: (found: T) => boolean, ms = 10_000): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = look();
    if (isSo(found)) return found;
    if (Date.now() > end) throw new Error(`not in ${ms} ms: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
