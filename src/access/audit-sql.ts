import { sql } from "../infra/database/sql.ts";

/** The columns of an event `e` as they are hashed. */
export const hashedColumns = sql`
  e.id, to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at, e.actor, e.action,
  e.resource_type, e.resource_id, e.reason, e.details, e.address, e.request_id`;
