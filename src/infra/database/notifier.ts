import { BatchWriter } from "../background/batch-writer.ts";
import { systemClock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { isDataError } from "./errors.ts";
import type { Session } from "./session.ts";
import { sql } from "./sql.ts";

/**
 * Sends notifications to all replicas, some at a time and each text once, on a connection of its own choice: a NOTIFY
 * inside a transaction takes a lock that all committing notifiers of the server queue for. What cannot be sent is dropped:
 * listeners poll as well.
 */
export class Notifier {
  readonly writer: BatchWriter<Notification>;

  constructor(pool: Session, logger: Logger) {
    this.writer = new BatchWriter<Notification>({
      name: "notifications",
      keyOf: (notification) => JSON.stringify(notification),
      write: async (batch) => {
        await pool.run(notifySql, [batch.map(([channel]) => channel), batch.map(([, payload]) => payload)]);
      },
      maxRows: maxWaiting,
      lingerMs: coalesceMs,
      maxWaiting,
      isBadRow: isDataError,
      onOutage: "drop",
      clock: systemClock,
      logger,
    });
  }

  /** Queues a notification. */
  notify(channel: string, payload: string): void {
    this.writer.add([channel, payload]);
  }

  /** Sends what waits and takes no more. May be called more than once. */
  close(): Promise<void> {
    return this.writer.close();
  }
}

type Notification = readonly [channel: string, payload: string];

const notifySql = sql`SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS t(c, p)`;

/** Long enough to gather a burst, short enough for an update to be announced within a second. */
const coalesceMs = 100;

/** Notifications that wait at most; what comes on top is left to the listeners' polls. */
const maxWaiting = 10_000;
