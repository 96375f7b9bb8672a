import { sql } from "../../infra/database/sql.ts";
/** Sets the alert of rollout $1, which has devices that must not be rolled back. */
export const alertBlockedSql = sql`
  UPDATE rollouts SET alert = rollback_blocked || ' devices must not be rolled back; their updates say why'
  WHERE id = $1::uuid`;
