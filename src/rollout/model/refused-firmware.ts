import { sql } from "../../infra/database/sql.ts";

/**
 * Whether the newest rollout of the firmware `f` that began was rolled back, archived or not: then nobody is rolled back to
 * it. A later rollout of the same firmware clears it.
 */
export const refusedSql = sql`
  (SELECT r.state IN ('ROLLING_BACK', 'ROLLED_BACK') FROM rollouts r
   WHERE r.firmware_id = f.id AND r.started_at IS NOT NULL ORDER BY r.id DESC LIMIT 1)`;
