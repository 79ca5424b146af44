import type { Status } from "partysync-client";

import { room } from "./room";

/** What is kept on this device, and how to be rid of it. */
export function Device({ status }: { status: Status }) {
  const clear = () => {
    const loss = `${status.pending} of your changes have not been sent. They would be lost.`;
    if (status.pending === 0 || window.confirm(loss)) room.forget();
  };
  return (
    <footer>
      {status.storageProblem !== undefined && (
        <p className="note">
          {status.storage === "kept" ? "Only your changes are kept on this device" : "Nothing is kept on this device"}:{" "}
          {status.storageProblem}
        </p>
      )}
      <p>
        This list is kept on this device, so that you can use it offline.{" "}
        <button type="button" className="quiet" onClick={clear}>
          Clear local data
        </button>
      </p>
    </footer>
  );
}
