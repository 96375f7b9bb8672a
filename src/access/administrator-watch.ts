import type { Logger } from "pino";
import { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";

/** What an {@link AdministratorWatch} is made of. */
export interface AdministratorWatchParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Says in the log, each hour, that soon no administrator will be left because their tokens expire. */
export class AdministratorWatch {
  readonly round: Round;
  readonly #parts: AdministratorWatchParts;

  constructor(parts: AdministratorWatchParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({
      name: "administrators",
      everyMs: 60 * 60_000,
      atOnce: true,
      work: () => this.#look(),
      clock,
      logger,
    });
  }

  async #look(): Promise<void> {
    const { database, clock, logger } = this.#parts;
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
}

/** Long enough for whoever reads the log after a holiday. */
const noticeMs = 14 * 24 * 60 * 60_000;

/** When the last of them expires; one that never does counts as the year 9999. */
const lastExpirySql = sql`
  SELECT (extract(epoch FROM max(coalesce(expires_at, '9999-01-01'))) * 1000)::float8 AS until_ms
    FROM operator_tokens WHERE role = 'admin' AND revoked_at IS NULL`;
