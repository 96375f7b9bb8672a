import type pg from "pg";
import type { Logger } from "../logger.ts";

/**
 * Sends notifications to all replicas, some at a time and each text once, on a connection of its own choice: a NOTIFY
 * inside a transaction takes a lock that all committing notifiers of the server queue for.
 */
export class Notifier {
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  /** Channel and payload of what waits, under both as one text. */
  readonly #waiting = new Map<string, readonly [channel: string, payload: string]>();
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(pool: pg.Pool, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  /** Queues a notification. What cannot be sent is dropped: listeners poll as well. */
  notify(channel: string, payload: string): void {
    if (this.#closed || this.#waiting.size >= maxWaiting) return;
    this.#waiting.set(JSON.stringify([channel, payload]), [channel, payload]);
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#flush(), coalesceMs);
    this.#timer.unref();
  }

  /** Sends what waits and takes no more. May be called more than once. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#flush();
    await this.#sending;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = [...this.#waiting.values()];
    this.#waiting.clear();
    if (batch.length === 0) return;
    this.#sending = Promise.all([this.#sending, this.#send(batch)]).then(() => undefined);
  }

  async #send(batch: readonly (readonly [channel: string, payload: string])[]): Promise<void> {
    try {
      await this.#pool.query("SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS t(c, p)", [
        batch.map(([channel]) => channel),
        batch.map(([, payload]) => payload),
      ]);
    } catch (err) {
      this.#logger.warn({ err, notifications: batch.length }, "could not notify other replicas");
    }
  }
}

/** Long enough to gather a burst, short enough for an update to be announced within a second. */
const coalesceMs = 100;

/** Notifications that wait at most; what comes on top is left to the listeners' polls. */
const maxWaiting = 10_000;
