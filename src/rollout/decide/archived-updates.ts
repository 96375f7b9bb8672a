import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";

/**
 * Marks the device updates of a rollout as deleted once it is archived, and no more once it is not: a batch at a time, each
 * in one statement that remembers how far it got, so that any replica goes on where another one ended. Until it is done,
 * lists of a device's updates show some of them as they were.
 */
export class ArchivedUpdates {
  readonly round: Round;
  readonly #pool: Pool;

  constructor({
    pool,
    clock,
    logger,
  }: { readonly pool: Pool; readonly clock: Clock; readonly logger: Logger }) {
    this.#pool = pool;
    this.round = new Round({
      name: "archived_updates",
      everyMs: lookMs,
      work: (signal) => this.#run(signal),
      clock,
      logger,
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    let marked = updatesPerBatch;
    while (marked > 0 && !signal.aborted) marked = await this.#pool.run(markSql, [updatesPerBatch]);
  }
}

/** Only what another replica left undone is found this late. */
const lookMs = 10_000;

/** Some tenths of a second. No device waits for it: all of these updates have ended. */
const updatesPerBatch = 5_000;

/**
 * Of one rollout, its next $1 updates; affects no row once none is left to do. The lock leaves rollouts to the replica that
 * is at them, and keeps one from being archived or taken out meanwhile.
 */
const markSql = sql`
  WITH due AS MATERIALIZED (
    SELECT id, is_deleted, unmarked_after FROM rollouts WHERE unmarked_after IS NOT NULL
    ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
  ), batch AS MATERIALIZED (
    SELECT u.device_id, u.id FROM due d JOIN device_updates u ON u.rollout_id = d.id AND u.id > d.unmarked_after
    ORDER BY u.id LIMIT $1::int
  ), marked AS (
    UPDATE device_updates u SET is_deleted = d.is_deleted FROM batch b, due d
    WHERE u.device_id = b.device_id AND u.id = b.id AND u.is_deleted <> d.is_deleted
  )
  UPDATE rollouts r SET unmarked_after = CASE WHEN (SELECT count(*) FROM batch) = $1::int
    THEN (SELECT id FROM batch ORDER BY id DESC LIMIT 1) END
  FROM due d WHERE r.id = d.id`;
