// Made from the room's Rust types: UPDATE_TYPES=1 cargo test. Not to be edited.

/** A row of `todos`, with `{ rows: "objects" }`. */
export type TodoRow = {
  readonly id: string;
  readonly text: string;
  readonly completed: 0 | 1;
  readonly created_at: number;
  readonly updated_at: number;
  readonly deleted_at: null;
};

/** A row of `todos` as it travels. */
export type TodoTuple = readonly [
  id: string,
  text: string,
  completed: 0 | 1,
  created_at: number,
  updated_at: number,
  deleted_at: null,
];

/** The rows of each channel. */
export interface Channels {
  readonly "todos": { readonly object: TodoRow; readonly tuple: TodoTuple };
}

/**
 * What a page can ask for.
 */
export type Action = { "type": "create", "payload": { id: string, text: string, } } | { "type": "edit", "payload": { id: string, text: string, } } | { "type": "complete", "payload": { id: string, completed: boolean, } } | { "type": "delete", "payload": { id: string, } } | { "type": "tidy" };
