// Actions on their way: each has an id of 8 characters and is given up after 10 s. Giving up takes
// nothing back: what waits in the socket's queue is delivered once the socket is open again.

import { nanoid } from "nanoid";
import type { PartySocket } from "partysocket";

const TIMEOUT_MS = 10_000;

interface Waiting<Result> {
  resolve(result: Result): void;
  reject(error: Error): void;
}

export class Calls<Action, Result> {
  readonly #waiting = new Map<string, Waiting<Result>>();

  constructor(
    private readonly channel: string,
    private readonly socket: PartySocket,
  ) {}

  /** Hears the answers until what is returned is called. */
  listen(): () => void {
    const handle = ({ data }: MessageEvent) => this.#answered(JSON.parse(data));
    this.socket.addEventListener("message", handle);
    return () => this.socket.removeEventListener("message", handle);
  }

  run(action: Action): Promise<Result> {
    const id = nanoid(8);
    this.socket.send(JSON.stringify({ id, channel: this.channel, rpc: true, action }));
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`RPC call ${id} timed out`));
      }, TIMEOUT_MS);
    });
  }

  #answered(message: any) {
    if (message.rpc !== true || message.channel !== this.channel) return;
    const waiting = this.#waiting.get(message.id);
    if (message.type === "success") waiting?.resolve(message.result);
    else if (message.type === "error") waiting?.reject(new Error(message.error.join("\n")));
  }
}
