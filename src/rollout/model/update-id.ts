import { randomInt } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { type Sql, sql } from "../../infra/database/sql.ts";

/**
 * The id of a new device update: of a device's tries the newest has the highest, also where the clock was set back since
 * the try before it, `after`. Those that are made for one millisecond rise as well, whatever is made for others in between.
 */
export function newUpdateId(now: Date, after?: string): string {
  const leastMs = after === undefined ? 0 : timeOf(after) + 1;
  sequence = sequence < lastSequence ? sequence + 1 : randomInt(firstSequences);
  return uuidv7({ msecs: Math.max(now.getTime(), leastMs), seq: sequence });
}

/**
 * The id of a new update of a device at time `now`, higher than those that it has, as {@link newUpdateId} makes it: a UUID of version
 * 7 (RFC 9562, section 5.7), which PostgreSQL makes by itself only from version 18 on. It is one of the first of its
 * millisecond, so that what is offered to the device in the same one comes after it.
 */
export function updateIdSql(now: Sql, deviceId: Sql): Sql {
  const newest = sql`(SELECT w.id FROM device_updates w WHERE w.device_id = ${deviceId} ORDER BY w.id DESC LIMIT 1)`;
  const leastMs = sql`('x' || lpad(translate(left(${newest}::text, 13), '-', ''), 16, '0'))::bit(64)::bigint + 1`;
  const atMs = sql`greatest((extract(epoch FROM ${now}) * 1000)::bigint, ${leastMs})`;
  return sql`
  encode(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send(${atMs}) FROM 3) || '\\x7000'::bytea FROM 1 FOR 8), 'hex')::uuid`;
}

/** A sequence has 32 bits; it begins in the lower half, so that it has room to rise. */
const firstSequences = 2 ** 31;

const lastSequence = 2 ** 32 - 1;

/** That of the id that was made last: it tells those of one millisecond apart. */
let sequence = randomInt(firstSequences);

/** The milliseconds since 1970 in a UUID of version 7 (RFC 9562, section 5.7). */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
