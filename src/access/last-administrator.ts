import type { Logger } from "pino";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";

/** Says in the log that soon no administrator will be left because their tokens expire. */
export async function warnOfLastAdministrator({
  database,
  clock,
  logger,
}: LastAdministratorParts): Promise<void> {
  const now = clock.now().getTime();
  const [row] = await database.pool.query<{ until_ms: number | null }>(lastExpirySql);
  const untilMs = row?.until_ms ?? now;
  if (untilMs - now > noticeMs) return;
  const when =
    untilMs <= now ? "no administrator's token works" : "the last administrator's token expires soon";
  logger.warn(
    { expireTime: new Date(untilMs).toISOString() },
    `${when}: create another one with the role admin, or start the service with another DEVICE_OTA_ADMIN_TOKEN`,
  );
}

/** What looks at the administrators, and by which time. */
interface LastAdministratorParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Long enough for whoever reads the log after a holiday. */
const noticeMs = 14 * 24 * 60 * 60_000;

/** When the last of them expires; one that never does counts as the year 9999. */
const lastExpirySql = sql`
  SELECT (extract(epoch FROM max(coalesce(expires_at, '9999-01-01'))) * 1000)::float8 AS until_ms
    FROM operator_tokens WHERE role = 'admin' AND revoked_at IS NULL`;
