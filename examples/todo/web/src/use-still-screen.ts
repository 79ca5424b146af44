import type { VirtualItem } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef } from "react";

import type { Todo } from "./room";

/** What was the first todo on the screen, and how far down the page it began. */
interface Anchor {
  readonly todos: readonly Todo[];
  readonly id: string | undefined;
  readonly start: number;
}

/** What somebody adds or deletes above what is on the screen does not move it. */
export function useStillScreen(
  todos: readonly Todo[],
  onScreen: readonly VirtualItem[],
  all: readonly VirtualItem[],
  top: number,
): void {
  const anchor = useRef<Anchor>(undefined);
  useLayoutEffect(() => {
    const before = anchor.current;
    if (before?.id !== undefined && before.todos !== todos && window.scrollY > top) {
      const now = all[todos.findIndex((todo) => todo.id === before.id)]?.start;
      if (now !== undefined && now !== before.start) window.scrollBy(0, now - before.start);
    }
    const first = onScreen.find(({ end }) => end > window.scrollY);
    anchor.current = { todos, id: first && todos[first.index]?.id, start: first?.start ?? 0 };
  });
}
