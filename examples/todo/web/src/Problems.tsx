import type { Problem } from "partysync-client";

import { CHANNEL, predict, ROWS, room } from "./room";
import { story } from "./words";

const channel = room.channel(CHANNEL, { ...ROWS, reducer: predict });

interface Props {
  problems: readonly Problem[];
  dismiss: () => void;
}

/** What the room refused, and why: the newest first, which is what the person has just done. */
export function Problems({ problems, dismiss }: Props) {
  return (
    <section className="problems" aria-label="Problems" aria-live="assertive">
      {problems.length > 0 && (
        <>
          <ul>
            {problems
              .map((problem, index) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: a list that only grows at its end, without state of its own.
                <li key={`${problem.at} ${index}`}>{story(problem, (id) => channel.row(id))}</li>
              ))
              .reverse()}
          </ul>
          <button type="button" onClick={dismiss}>
            Dismiss
          </button>
        </>
      )}
    </section>
  );
}
