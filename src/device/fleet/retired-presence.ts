import type { EntityManager } from "@mikro-orm/postgresql";
import type { Clock } from "../../infra/clock.ts";
import { takeLock } from "../../infra/database/pool.ts";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { presenceWordSql } from "../state/presence-sql.ts";
import { trimSql } from "./presence-log.ts";

/** What {@link RetiredPresence} is made of. */
export interface RetiredPresenceParts {
  readonly clock: Clock;
  readonly heartbeatIntervalMs: number;
}

/**
 * Writes to the presence log that a device went because it was retired, in the transaction that retires it: watchers see
 * it go when the counters lose it. The log's lock is the last that this transaction takes, and is held until its commit.
 */
export class RetiredPresence {
  readonly #parts: RetiredPresenceParts;

  constructor(parts: RetiredPresenceParts) {
    this.#parts = parts;
  }

  async deviceRetired(em: EntityManager, { id }: { readonly id: string }): Promise<void> {
    const { clock, heartbeatIntervalMs } = this.#parts;
    const now = clock.now();
    const session = sessionOf(em);
    await takeLock(session, "presence log");
    await session.run(appendSql, [id, now, now.getTime(), heartbeatIntervalMs]);
    await session.run(trimSql);
  }
}

const presence = presenceWordSql(
  sql`floor(date_part('epoch', s.last_seen_at))`,
  sql`coalesce(s.expected_interval_ms, $4::double precision)`,
  sql`$3::double precision`,
);

const appendSql = sql`
  INSERT INTO presence_changes (device_id, presence, previous_presence, last_seen_at, changed_at)
  SELECT d.id, 'retired',
         CASE WHEN s.last_seen_at IS NULL THEN 'unknown' ELSE ${presence} END, s.last_seen_at, $2::timestamptz
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
   WHERE d.id = $1
  ON CONFLICT DO NOTHING`;
