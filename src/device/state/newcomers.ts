import { type Sql, sql } from "../../infra/database/sql.ts";

/**
 * Locks, in the order of their ids, the devices of $1 that have no row in a table yet: to go before an INSERT into that table,
 * whose rows must be selected `WHERE ${newcomersLocked}`.
 *
 * The insert would lock them too, by its foreign key, but after it has locked the rows of other devices that are there
 * already. Who retires a device takes the two the other way round, so the device comes first, here as there.
 */
export function withNewcomers(table: Sql): Sql {
  return sql`WITH newcomers AS MATERIALIZED (
    SELECT d.id FROM devices d
     WHERE d.id = ANY($1::uuid[]) AND NOT EXISTS (SELECT FROM ${table} t WHERE t.device_id = d.id)
     ORDER BY d.id FOR SHARE OF d)`;
}

/** True, once they are locked. */
export const newcomersLocked = sql`(SELECT count(*) FROM newcomers) >= 0`;
