import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";

/** Devices that failed for the same reason. */
export interface FailureReasonCount {
  readonly name: string;
  readonly count: number;
}

/** Counts a rollout's failed and timed-out devices by reason, most first; tries that were followed by others left out. */
export function readFailureReasons(session: Session, rolloutId: string): Promise<FailureReasonCount[]> {
  return session.query<FailureReasonCount>(reasonsSql, [rolloutId]);
}

/** Devices may name reasons of their own. */
const maxReasons = 100;

const reasonsSql = sql`
  SELECT coalesce(failure_reason, 'UNKNOWN') AS name, count(*)::float8 AS count FROM device_updates
  WHERE rollout_id = $1::uuid AND state IN ('FAILED', 'TIMED_OUT') AND retry_at IS NULL AND action <> 'ROLLBACK'
  GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${maxReasons}`;
