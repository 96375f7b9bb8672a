import type { Logger } from "pino";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";

/** Says in the log which signing keys in use expire soon: afterwards what they signed is not installed any more. */
export async function warnOfExpiringKeys({ database, clock, logger }: ExpiringKeysParts): Promise<void> {
  const now = clock.now();
  const until = new Date(now.getTime() + noticeMs);
  const keys = await database.pool.query<ExpiringKey>(expiringSql, [now, until]);
  for (const { id, name, expires_ms, firmware } of keys) {
    logger.warn(
      { keyId: id, name, expireTime: new Date(expires_ms).toISOString(), firmware },
      "a signing key expires soon: sign what the fleet runs and what it is to get with another one, or rollouts pause and nobody goes back to it",
    );
  }
}

/** What looks at the signing keys, and by which time. */
interface ExpiringKeysParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface ExpiringKey {
  readonly id: string;
  readonly name: string;
  readonly expires_ms: number;
  /** How many of the catalogue it has signed. */
  readonly firmware: number;
}

/** Long enough to take a key out of a safe. */
const noticeMs = 30 * 24 * 60 * 60_000;

const expiringSql = sql`
  SELECT k.id, k.name, (extract(epoch FROM k.expires_at) * 1000)::float8 AS expires_ms, count(*)::int AS firmware
    FROM signing_keys k
    JOIN firmware_signatures s ON s.key_id = k.id
    JOIN firmware_updates f ON f.id = s.firmware_id AND NOT f.is_deleted
   WHERE k.revoked_at IS NULL AND k.expires_at > $1::timestamptz AND k.expires_at <= $2::timestamptz
   GROUP BY k.id, k.name, k.expires_at ORDER BY k.expires_at LIMIT 20`;
