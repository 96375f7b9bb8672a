import { sql } from "../../infra/database/sql.ts";

/**
 * Whether the update `w` is one after which its rollout makes its device no other offer. Steps on the way to it are none, nor
 * are those that count as not made: they have numbers below those of tries.
 */
export const triedSql = sql`(NOT (w.action = 'STEP' AND w.state = 'SUCCEEDED') AND w.attempt > 0)`;
