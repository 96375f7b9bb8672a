import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { Presence } from "../state/presence.ts";
import type { PresenceChange } from "./presence-wheel.ts";

/** How a device is now, as the log has it: a retired one is waited for no more. */
export type LoggedPresence = Presence | "retired";

/** A change as the log has it. */
export interface LoggedChange {
  /** Where it stands in the log, rising. */
  readonly position: number;
  /** Undefined if the entry only says that changes are missing. */
  readonly deviceId: string | undefined;
  readonly presence: LoggedPresence;
  readonly previous: Presence;
  readonly changedAt: Date;
  /** Changes before this one that are not listed. */
  readonly lostCount: number;
}

/** A part of the log. */
export interface LogPage {
  /** Oldest first. */
  readonly changes: readonly LoggedChange[];
  /** Whether the log no longer has all changes after the position, or has more than were asked for. */
  readonly incomplete: boolean;
  /** The position of the newest change in the log. */
  readonly position: number;
}

/**
 * The newest changes of presence of all replicas, in the database: watchers of any replica see all, and go on after a
 * break at any other. Bounded: {@link keptChanges} are kept.
 */
export class PresenceLog {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Appends changes, the newest last; more than {@link maxAppended} at once are not listed but only counted. What another
   * replica has noticed too is there once. Entries become visible in the order of their positions, because only one
   * transaction at a time may append.
   */
  async append(changes: readonly PresenceChange[], at: Date, lostBefore = 0): Promise<void> {
    const listed = changes.slice(-maxAppended);
    const lost = lostBefore + changes.length - listed.length;
    try {
      await this.#pool.transact(
        async (session) => {
          if (lost > 0) await session.run(lostSql, [at, lost]);
          await session.run(appendSql, [
            listed.map(({ deviceId }) => deviceId),
            listed.map(({ presence }) => presence),
            listed.map(({ previous }) => previous),
            listed.map(({ seenSecond }) => new Date(seenSecond * 1_000)),
            at,
          ]);
          await session.run(trimSql);
        },
        { lock: "presence log" },
      );
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  /** The newest `limit` changes after a position; all since the beginning of the log for `undefined`. */
  async after(position: number, limit: number): Promise<LogPage> {
    try {
      const rows = await this.#pool.query<LogRow>(readSql, [position, limit + 1]);
      const [bounds] = rows;
      const newest = Number(bounds?.newest ?? 0);
      const oldest = Number(bounds?.oldest ?? 0);
      const found = rows.flatMap((row) => (row.id === null ? [] : [changeOf(row)])).toReversed();
      const changes = found.slice(-limit);
      // A position ahead of the log is one of another database.
      const incomplete = found.length > limit || position > newest || (newest > 0 && position < oldest - 1);
      return { changes, incomplete, position: newest };
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

/** Changes in one second of one replica: after an outage of the network nobody reads a list of the whole fleet. */
const maxAppended = 1_000;

/** Some minutes of a fleet with a hundred changes a second; watchers that were away longer see that they missed some. */
const keptChanges = 20_000;

/** Forgets the oldest changes. Who appends does it under the lock. */
export const trimSql = sql`
  DELETE FROM presence_changes WHERE id <= (SELECT max(id) FROM presence_changes) - ${keptChanges}`;

const lostSql = sql`INSERT INTO presence_changes (changed_at, lost_count) VALUES ($1, $2)`;

const appendSql = prepared(
  "device_append_presence",
  sql`
  INSERT INTO presence_changes (device_id, presence, previous_presence, last_seen_at, changed_at)
  SELECT device_id, presence, previous, seen, $5
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS t (device_id, presence, previous, seen)
  ON CONFLICT DO NOTHING`,
);

const readSql = prepared(
  "device_read_presence",
  sql`
  SELECT bounds.*, c.*
    FROM (SELECT min(id) AS oldest, max(id) AS newest FROM presence_changes) bounds
    LEFT JOIN (SELECT id, device_id, presence, previous_presence, changed_at, lost_count FROM presence_changes
                WHERE id > $1 ORDER BY id DESC LIMIT $2) c ON true
   ORDER BY c.id DESC`,
);

interface LogRow {
  readonly oldest: string | null;
  readonly newest: string | null;
  readonly id: string | null;
  readonly device_id: string | null;
  readonly presence: LoggedPresence;
  readonly previous_presence: Presence;
  readonly changed_at: Date;
  readonly lost_count: string;
}

function changeOf(row: LogRow): LoggedChange {
  return {
    position: Number(row.id),
    deviceId: row.device_id ?? undefined,
    presence: row.presence,
    previous: row.previous_presence,
    changedAt: row.changed_at,
    lostCount: Number(row.lost_count),
  };
}
