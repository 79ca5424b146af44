// The hook of version 1, as protocol and original have it, faults included: see README.md.

import { startTransition, useEffect, useMemo, useOptimistic, useState } from "react";
import type { PartySocket } from "partysocket";

import { Calls } from "./calls";
import { changed, isLive, newest, replaced, type Row } from "./rows";
import { Store } from "./store";

export function useSync<R extends Row, Action>(
  channel: string,
  socket: PartySocket,
  predict: (rows: R[], action: Action) => R[] = (rows) => rows,
): [R[], (action: Action) => void] {
  const store = useMemo(() => new Store<R>(channel), [channel]);
  const calls = useMemo(() => new Calls<Action, R[]>(channel, socket), [channel, socket]);
  const [rows, setRows] = useState<R[]>([]);
  const [shown, showPredicted] = useOptimistic(rows, predict);

  useEffect(() => calls.listen(), [calls]);

  useEffect(() => {
    const handle = ({ data }: MessageEvent) => {
      const message = JSON.parse(data);
      if (message.channel !== channel) return;
      if (message.sync === true) {
        setRows((rows) => replaced(rows, message.payload));
        void store.put(message.payload);
      } else if (message.broadcast === true && message.type === "update") {
        setRows((rows) => changed(rows, message.payload));
        void store.put(message.payload);
      } else if (message.broadcast === true && message.type === "delete-all") {
        setRows([]); // What is stored stays, and is back at the next mount.
      }
    };
    socket.addEventListener("message", handle);
    return () => socket.removeEventListener("message", handle);
  }, [channel, socket, store]);

  // Once a mount: a socket that comes back asks for nothing.
  useEffect(() => {
    void store.all().then((stored) => {
      setRows(stored.filter(isLive));
      socket.send(JSON.stringify({ channel, sync: true, from: newest(stored) }));
    });
  }, [channel, socket, store]);

  const send = (action: Action) =>
    startTransition(async () => {
      showPredicted(action);
      const result = await calls.run(action);
      if (result.length === 0) return; // Throws if there is none, as the original does.
      startTransition(() => setRows((rows) => changed(rows, result)));
      void store.put(result);
    });
  return [shown, send];
}
