import { defaultRangeExtractor, type Range, useWindowVirtualizer } from "@tanstack/react-virtual";
import type { Sent } from "partysync-client";
import { useCallback, useLayoutEffect, useMemo, useRef, useState } from "react";

import type { Action, Todo } from "./room";
import { TodoItem } from "./TodoItem";
import { useStillScreen } from "./use-still-screen";

/** A row with one line of text, in pixels: what is taken for the height of those that were not shown yet. */
const ROW_PX = 57;

interface Props {
  todos: readonly Todo[];
  send: (action: Action) => Sent;
  /** Goes on elsewhere than in the list, with what was typed there. */
  goOn: (typed?: string) => void;
}

/**
 * The todos, the newest first. Only those on the screen, and a few around, are in the document: ten thousand cost no more than ten. The one that has
 * the focus stays in it, wherever the page is scrolled to.
 */
export function TodoList({ todos, send, goOn }: Props) {
  const list = useRef<HTMLUListElement>(null);
  const [top, setTop] = useState(0);
  const [focused, setFocused] = useState<string>();
  const shown = useMemo(() => todos.toReversed(), [todos]);
  const focusedIndex = focused === undefined ? -1 : shown.findIndex((todo) => todo.id === focused);

  // What is above the list may have changed its height.
  useLayoutEffect(() => setTop(list.current?.offsetTop ?? 0));

  const virtualizer = useWindowVirtualizer({
    count: shown.length,
    estimateSize: () => ROW_PX,
    // Another function has the library go through all todos.
    getItemKey: useCallback((index: number) => shown[index]?.id ?? index, [shown]),
    overscan: 8,
    rangeExtractor: useCallback(
      (range: Range) => withIndex(defaultRangeExtractor(range), focusedIndex),
      [focusedIndex],
    ),
    scrollMargin: top,
  });

  const moveFocus = useCallback(
    (gone: HTMLLIElement, typed: string | undefined) => {
      // Whoever types does not tick another todo with the next blank.
      if (typed !== undefined) return goOn(typed);
      const near = gone.nextElementSibling ?? gone.previousElementSibling;
      const control = near?.querySelector<HTMLElement>(
        `[name="${(document.activeElement as HTMLButtonElement).name}"]`,
      );
      const next = control ?? near?.querySelector<HTMLElement>("input");
      if (next) next.focus({ preventScroll: true });
      else goOn();
    },
    [goOn],
  );

  const items = virtualizer.getVirtualItems();

  useStillScreen(shown, items, virtualizer.measurementsCache, top);

  return (
    <ul
      ref={list}
      aria-label="Todos"
      className="todos"
      style={{ height: virtualizer.getTotalSize() }}
      onFocus={(event) => setFocused(event.target.closest("li")?.dataset.id)}
      onBlur={() => setFocused(undefined)}
    >
      {items.map(({ index, start }) => {
        const todo = shown[index];
        return (
          todo && (
            <TodoItem
              key={todo.id}
              todo={todo}
              index={index}
              count={shown.length}
              start={start - top}
              measure={virtualizer.measureElement}
              send={send}
              moveFocus={moveFocus}
            />
          )
        );
      })}
    </ul>
  );
}

function withIndex(indexes: number[], index: number): number[] {
  return index < 0 || indexes.includes(index) ? indexes : [...indexes, index].sort((a, b) => a - b);
}
