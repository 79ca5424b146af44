// The home of a room that is kept on the device, and shared among the tabs that have it open. A page loads this when it needs it.

import { type Audience, Driver, type Handed, type Home, type Shown } from "./driver.js";
import { errorOf } from "./error.js";
import { type Chair, Seat, type Standing, type Tab } from "./tabs.js";
import type { Transport } from "./transport.js";

type ChairClass = new (room: string, tab: Tab) => Chair;

export class Kept implements Home {
  readonly #key: string;
  readonly #room: string;
  readonly #transport: Transport;
  readonly #audience: Audience;
  readonly #Chair: ChairClass;
  #seat: Chair | undefined;
  /** There while this tab leads. */
  #driver: Driver | undefined;
  /** Actions that this tab asked for, until they are settled: a leader may go before it has stored them. */
  readonly #own = new Map<string, Handed>();
  /** Keys of actions that other tabs asked for. */
  readonly #others = new Set<string>();
  /** What other tabs asked for while this one, which leads, was still reading what is stored. */
  readonly #early: Handed[] = [];
  /** Fates whose rows come next. */
  readonly #late: (() => void)[] = [];
  #shown: Shown | undefined;
  #standing: Standing = { connection: "connecting", isKept: true };

  /** `Chair`: where the tab sits, if not among others. */
  constructor(key: string, room: string, transport: Transport, audience: Audience, Chair: ChairClass = Seat) {
    this.#Chair = Chair;
    this.#key = key;
    this.#room = room;
    this.#transport = transport;
    this.#audience = audience;
  }

  enter(): void {
    this.#seat = new this.#Chair(this.#key, this.#tab());
    for (const handed of this.#own.values()) this.#seat.ask({ type: "act", handed });
  }

  async leave(): Promise<void> {
    const [seat, driver] = [this.#seat, this.#driver];
    this.#seat = undefined;
    this.#driver = undefined;
    // Whoever leads next reads what is stored.
    await driver?.leave();
    seat?.leave();
  }

  act(handed: Handed): void {
    this.#own.set(handed.key, handed);
    if (this.#driver !== undefined) this.#driver.act(handed);
    else this.#seat?.ask({ type: "act", handed });
  }

  say(text: string): void {
    if (this.#driver !== undefined) this.#driver.say(text);
    else this.#seat?.ask({ type: "say", text });
  }

  reconnect(): void {
    if (this.#driver !== undefined) this.#driver.reconnect();
    else this.#seat?.ask({ type: "reconnect" });
  }

  async forget(): Promise<void> {
    if (this.#driver !== undefined) await this.#driver.forget();
    else this.#seat?.ask({ type: "forget" });
  }

  #tab(): Tab {
    return {
      lead: () => void this.#lead(),
      follow: (shown, { connection, refusal, isKept, why }, isNew) => {
        this.#tellLate();
        this.#audience.changed(shown);
        // Whoever led before may have gone before it heard of these. What is known already is not done again.
        if (isNew) for (const handed of this.#own.values()) this.#seat?.ask({ type: "act", handed });
        this.#audience.kept(isKept, why);
        this.#audience.connected(connection, refusal);
      },
      asked: (message) => {
        if (message.type === "act") {
          this.#others.add(message.handed.key);
          if (this.#driver === undefined) this.#early.push(message.handed);
          else this.#take(message.handed);
        } else if (message.type === "say") this.say(message.text);
        else if (message.type === "reconnect") this.reconnect();
        else void this.forget();
      },
      told: (message) => {
        if (message.type === "message") this.#audience.message(message.text);
        else if (message.type === "accepted") this.#audience.accepted(message.key);
        else {
          const { key, fate, pending } = message;
          this.#own.delete(key);
          const tell = () => this.#audience.settled(key, fate, pending, true);
          // If it was pending, the rows that show it follow: both are told in one step (P6).
          if (pending === undefined) tell();
          else this.#late.push(tell);
        }
      },
    };
  }

  /** This tab leads now: it takes up what is stored, and what it waited for somebody to take. */
  async #lead(): Promise<void> {
    const seat = this.#seat;
    const isLeft = () => seat === undefined || seat !== this.#seat;
    const audience = this.#leader();
    try {
      if (seat === undefined) return;
      const storage = await seat.open();
      const { kept, orphans } = await storage.load();
      // Another tab may lead by now: nothing is written.
      if (isLeft()) return await storage.close();
      this.#driver = new Driver(this.#room, this.#transport, audience, storage, kept);
      audience.kept(true);
      // What is not removed now is the next time.
      storage.prune().catch(() => {});
      for (const p of orphans) audience.settled(p.key, { status: "unknown", error: errorOf("client_unknown") }, p);
    } catch (why) {
      if (isLeft()) return;
      this.#driver = new Driver(this.#room, this.#transport, audience);
      audience.kept(false, why);
    }
    audience.changed(this.#driver.state);
    this.#tellLate();
    for (const handed of [...this.#own.values(), ...this.#early.splice(0)]) this.#take(handed);
    this.#driver.enter();
  }

  #tellLate(): void {
    for (const tell of this.#late.splice(0)) tell();
  }

  /** Takes an action up, unless an earlier leader has. */
  #take(handed: Handed): void {
    const outcome = this.#driver?.outcomes.find(({ key }) => key === handed.key);
    if (outcome !== undefined) this.#leader().settled(handed.key, outcome.fate);
    else if (this.#driver?.state.pending.every(({ key }) => key !== handed.key)) this.#driver.act(handed);
  }

  /** What a leader hears, its followers hear as well. */
  #leader(): Audience {
    const audience = this.#audience;
    return {
      changed: (shown) => {
        this.#shown = shown;
        audience.changed(shown);
        this.#show({});
      },
      connected: (connection, refusal) => {
        audience.connected(connection, refusal);
        this.#show({ connection, refusal });
      },
      accepted: (key) => {
        audience.accepted(key);
        this.#seat?.tell({ type: "accepted", key });
      },
      settled: (key, fate, pending) => {
        this.#own.delete(key);
        audience.settled(key, fate, pending, this.#others.delete(key));
        this.#seat?.tell({ type: "settled", key, fate, pending });
      },
      message: (text) => {
        audience.message(text);
        this.#seat?.tell({ type: "message", text });
      },
      failed: (error) => audience.failed(error),
      kept: (isKept, why) => {
        audience.kept(isKept, why);
        this.#show({ isKept, why: why === undefined ? undefined : String(why) });
      },
    };
  }

  #show(change: Partial<Standing>): void {
    this.#standing = { ...this.#standing, ...change };
    if (this.#shown !== undefined) this.#seat?.show(this.#shown, this.#standing);
  }
}
