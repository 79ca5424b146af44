import type { Problem } from "partysync-client";

import { CHANNEL, predict, ROWS, room } from "./room";
import { story } from "./words";

const channel = room.channel(CHANNEL, { ...ROWS, reducer: predict });

/** What the room refused, and why. */
export function Problems({ problems }: { problems: readonly Problem[] }) {
  return (
    <section className="problems" aria-label="Problems" aria-live="assertive">
      {problems.length > 0 && (
        <>
          <ul>
            {problems.map((problem, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: a list that only grows at its end, without state of its own.
              <li key={`${problem.at} ${index}`}>{story(problem, (id) => channel.row(id))}</li>
            ))}
          </ul>
          <button type="button" onClick={() => room.dismiss()}>
            Dismiss
          </button>
        </>
      )}
    </section>
  );
}
