import type { Query } from "./rollout-rows.ts";

/** Devices that failed for the same reason. */
export interface FailureReasonCount {
  readonly name: string;
  readonly count: number;
}

/** Counts a rollout's failed and timed-out devices by reason, most first; tries that were followed by others left out. */
export function readFailureReasons(query: Query, rolloutId: string): Promise<FailureReasonCount[]> {
  return query<FailureReasonCount>(
    `SELECT coalesce(failure_reason, 'UNKNOWN') AS name, count(*)::float8 AS count FROM device_updates
     WHERE rollout_id = $1::uuid AND state IN ('FAILED', 'TIMED_OUT') AND retry_at IS NULL AND action <> 'ROLLBACK'
     GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${maxReasons}`,
    [rolloutId],
  );
}

/** Devices may name reasons of their own. */
const maxReasons = 100;
