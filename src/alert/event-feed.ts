import { invalidArgument, OtaError } from "../errors.ts";
import { Round } from "../infra/background/round.ts";
import { Changes } from "../infra/changes.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";

/** Something that happened; its number is where it stands in the order that all see. */
export interface FleetEvent {
  readonly id: string;
  readonly sequence: number;
  readonly type: string;
  readonly resourceType: string;
  readonly resourceId: string;
  readonly summary: string;
  readonly details: Readonly<Record<string, string>>;
  readonly occurredAt: Date;
}

/** What {@link EventFeed} is made of. */
export interface EventFeedParts {
  readonly database: Pick<Database, "pool">;
  readonly retentionMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Acts on events that are numbered now, in the transaction that numbers them. */
  readonly numbered?: (session: Session, range: EventRange) => Promise<void>;
}

/** Numbers of events. */
export interface EventRange {
  /** Excluded. */
  readonly after: number;
  /** Included. */
  readonly through: number;
}

/**
 * The feed of events. Events are written down with the change that they tell of, without order; one replica at a time numbers those
 * that are committed, so that whoever reads on behind a number misses none that is committed later. Readers are woken when
 * there is something new.
 */
export class EventFeed {
  readonly round: Round;
  /** Throws away what has been kept for long enough. */
  readonly purge: Round;
  readonly #parts: EventFeedParts;
  /** The number of the newest event, as it was when somebody watched. */
  #last = 0;
  #watchers = 0;
  readonly #changes = new Changes();

  constructor(parts: EventFeedParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({ name: "events", everyMs: numberMs, work: () => this.#number(), clock, logger });
    this.purge = new Round({
      name: "event_purge",
      everyMs: purgeMs,
      work: (signal) => this.#purge(signal),
      clock,
      logger,
    });
  }

  /** Events behind a number, oldest first. `OUT_OF_RANGE` if some of them are kept no more, or there were never as many. */
  async after(sequence: number, limit: number): Promise<FleetEvent[]> {
    const { pool } = this.#parts.database;
    const rows = await pool.query<EventRow>(readSql, [sequence, limit]);
    if (sequence > 0 && rows[0]?.sequence !== String(sequence + 1)) {
      const [kept] = await pool.query<KeptRow>(keptSql);
      const { first, last } = { first: Number(kept?.first ?? 0), last: Number(kept?.last ?? 0) };
      if (sequence + 1 < first || sequence > last) throw cursorExpired();
    }
    return rows.map(eventOf);
  }

  /** The number of the newest event. */
  async last(): Promise<number> {
    const [kept] = await this.#parts.database.pool.query<KeptRow>(keptSql);
    return Number(kept?.last ?? 0);
  }

  /**
   * Events behind a number, or behind the newest one, and further ones as they come, until the signal aborts. What comes first may be
   * empty. `TOO_MANY_STREAMS` past {@link maxWatchers}.
   */
  async *watch(
    from: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly events: readonly FleetEvent[]; readonly sequence: number }> {
    if (this.#watchers >= maxWatchers) throw tooManyWatchers();
    this.#watchers += 1;
    try {
      let sequence = from ?? (await this.last());
      let first = true;
      while (!signal.aborted) {
        const events = await this.after(sequence, maxListed);
        sequence = events.at(-1)?.sequence ?? sequence;
        if (first || events.length > 0) yield { events, sequence };
        first = false;
        if (events.length < maxListed && this.#last <= sequence) await this.#changes.next(signal);
      }
    } finally {
      this.#watchers -= 1;
    }
  }

  async #number(): Promise<void> {
    const { database, numbered } = this.#parts;
    // Without a transaction: mostly there is nothing to do.
    if ((await database.pool.query(anySql)).length > 0) {
      await database.pool.inTurn("events", async (session) => {
        const [kept] = await session.query<KeptRow>(keptSql);
        const after = Number(kept?.last ?? 0);
        const count = await session.run(numberSql, [after, maxNumbered]);
        if (count === 0) return;
        await numbered?.(session, { after, through: after + count });
        if (count === maxNumbered) this.round.soon(0);
      });
    }
    if (this.#watchers > 0) await this.#tell();
  }

  /** Wakes those who watch if the newest event is another one: numbered here or elsewhere, or lost with a database that was put back. */
  async #tell(): Promise<void> {
    const last = await this.last();
    if (last === this.#last) return;
    this.#last = last;
    this.#changes.tell();
  }

  async #purge(signal: AbortSignal): Promise<void> {
    const { database, retentionMs } = this.#parts;
    for (const statement of [purgeEventsSql, purgeAlertsSql]) {
      while (!signal.aborted) {
        if ((await database.pool.run(statement, [retentionMs, purgedAtOnce])) < purgedAtOnce) break;
      }
    }
  }
}

/** Reads a cursor; undefined for none. `INVALID_ARGUMENT` for what is none. */
export function sequenceOf(cursor: string): number | undefined {
  if (cursor === "") return undefined;
  if (/^(?:0|[1-9]\d{0,14})$/.test(cursor)) return Number(cursor);
  throw invalidArgument("cursor", "is not the cursor of an event or of an earlier message");
}

/** An event as the database holds it. */
export interface EventRow {
  readonly id: string;
  readonly sequence: string;
  readonly type: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly summary: string;
  readonly details: Readonly<Record<string, string>>;
  readonly occurred_at: Date;
}

interface KeptRow {
  readonly first: string | null;
  readonly last: string | null;
}

/** What a row says. */
export function eventOf(row: EventRow): FleetEvent {
  return {
    id: row.id,
    sequence: Number(row.sequence),
    type: row.type,
    resourceType: row.resource_type,
    resourceId: row.resource_id,
    summary: row.summary,
    details: row.details,
    occurredAt: row.occurred_at,
  };
}

function cursorExpired(): OtaError {
  return new OtaError(
    "out_of_range",
    "CURSOR_EXPIRED",
    "events behind the cursor are kept no more, or there never were as many: begin without one, and read anew what they were about",
  );
}

function tooManyWatchers(): OtaError {
  return new OtaError("resource_exhausted", "TOO_MANY_STREAMS", "too many callers follow the events", {
    retryAfterMs: 5_000,
  });
}

/** Followers on one replica. */
const maxWatchers = 1_000;

/** The most events of one message. */
const maxListed = 200;

/** Numbered in one transaction. */
const maxNumbered = 1_000;

const numberMs = 500;

const purgeMs = 3_600_000;

const purgedAtOnce = 5_000;

const readSql = sql`
  SELECT id, sequence, type, resource_type, resource_id, summary, details, occurred_at FROM fleet_events
   WHERE sequence > $1::bigint ORDER BY sequence LIMIT $2`;

const anySql = sql`SELECT 1 FROM fleet_events WHERE sequence IS NULL LIMIT 1`;

const keptSql = sql`SELECT min(sequence) AS first, max(sequence) AS last FROM fleet_events`;

const numberSql = sql`
  UPDATE fleet_events e SET sequence = $1::bigint + w.place
    FROM (SELECT id, row_number() OVER (ORDER BY occurred_at, id) AS place FROM fleet_events
           WHERE sequence IS NULL ORDER BY occurred_at, id LIMIT $2) w
   WHERE e.id = w.id`;

/** The oldest first, and never the newest, by which the next ones are numbered. */
const purgeEventsSql = sql`
  DELETE FROM fleet_events WHERE sequence IN (
    SELECT sequence FROM fleet_events
     WHERE sequence < coalesce(
       (SELECT min(sequence) FROM fleet_events WHERE occurred_at >= now() - make_interval(secs => $1::float8 / 1000)),
       (SELECT max(sequence) FROM fleet_events))
     ORDER BY sequence LIMIT $2)`;

const purgeAlertsSql = sql`
  DELETE FROM alerts WHERE id IN (
    SELECT id FROM alerts WHERE resolved_at < now() - make_interval(secs => $1::float8 / 1000) LIMIT $2)`;
