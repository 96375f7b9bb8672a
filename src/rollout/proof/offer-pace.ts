import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";

/** Of a rollout that the transaction has locked, what its pace rests on. */
export interface PacedRollout {
  readonly id: string;
  readonly offers_per_minute: number | null;
  readonly pace_began_ms: number | null;
  readonly pace_count: number;
}

/**
 * Counts the offers of rollouts that may make so many in a minute. A minute begins with the first offer after the end of the
 * one before. The counts are in the rollouts' rows, which the transaction has locked, so all replicas share them. An offer
 * that is counted and then not made, because the device has another update, is lost to the minute.
 */
export class OfferPace {
  readonly #minutes = new Map<string, { beganMs: number; count: number }>();

  /** Whether one more offer may be made now; counts it if so. */
  take({ id, offers_per_minute: limit, pace_began_ms, pace_count }: PacedRollout, at: Date): boolean {
    if (limit === null) return true;
    const nowMs = at.getTime();
    let minute = this.#minutes.get(id) ?? { beganMs: pace_began_ms ?? 0, count: pace_count };
    if (nowMs - minute.beganMs >= minuteMs || nowMs < minute.beganMs) minute = { beganMs: nowMs, count: 0 };
    if (minute.count >= limit) return false;
    minute.count += 1;
    this.#minutes.set(id, minute);
    return true;
  }

  /** Writes what was counted. */
  async write(session: Session): Promise<void> {
    for (const [id, { beganMs, count }] of this.#minutes) {
      await session.run(paceSql, [id, new Date(beganMs), count]);
    }
  }
}

const paceSql = sql`UPDATE rollouts SET pace_began_at = $2, pace_count = $3 WHERE id = $1`;

const minuteMs = 60_000;
