import type { Status } from "partysync-client";
import { useState } from "react";

import { link, room, roomName } from "./room";
import { standing } from "./words";

/** How long a button says that it did what it was to do. */
const SAID_MS = 2_000;

export function Header({ status }: { status: Status }) {
  return (
    <header>
      <div className="title">
        <h1>
          Todos <span className="in">in</span> <strong>{roomName}</strong>
        </h1>
        <p role="status" className="status" data-connection={status.connection} data-pending={status.pending}>
          {standing(status)}
        </p>
        {status.connection === "refused" && (
          <button type="button" onClick={() => room.reconnect()}>
            Try again
          </button>
        )}
      </div>
      {/* A plain form: another room is another page, so that two rooms' rows can never meet. */}
      <form className="room" action="/" method="get">
        <label htmlFor="room">Room</label>
        <input
          id="room"
          name="room"
          defaultValue={roomName}
          maxLength={64}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
        />
        <button type="submit">Go</button>
        <CopyLink />
      </form>
    </header>
  );
}

function CopyLink() {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link);
      setCopied(true);
      setTimeout(() => setCopied(false), SAID_MS);
    } catch {
      // No clipboard without TLS or the person's leave: it can be copied by hand.
      window.prompt("The link to this room:", link);
    }
  };
  return (
    <button type="button" onClick={copy} aria-live="polite">
      {isCopied ? "Copied" : "Copy link"}
    </button>
  );
}
