import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import type { RolloutTransactions } from "../model/rollout-transactions.ts";
import { readBringing, stopRecalled } from "./recalled-updates.ts";

/** What a {@link RecallWatch} is made of. */
export interface RecallWatchParts {
  readonly pool: Session;
  readonly transactions: RolloutTransactions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly everyMs: number;
}

/**
 * Sees to it that recalls hold: stops what brings a recalled version although the verb did not meet it, because an offer was on its
 * way at another replica, or because a firmware is named by a recalled text only since then. Also notes how many devices run
 * recalled versions still, by the last census of their ways out. Costs a look at a small table as long as nothing is recalled.
 */
export class RecallWatch {
  readonly round: Round;
  readonly #parts: RecallWatchParts;

  constructor(parts: RecallWatchParts) {
    this.#parts = parts;
    const { clock, logger, everyMs } = parts;
    this.round = new Round({ name: "recalls", everyMs, work: () => this.#run(), clock, logger });
  }

  async #run(): Promise<void> {
    const { pool, transactions, logger } = this.#parts;
    const [found] = await pool.query<{ some: boolean }>(anySql);
    if (found?.some !== true) return;
    for (const rolloutId of await readBringing(pool)) {
      const stopped = await transactions.run((tx) => stopRecalled(tx, rolloutId));
      logger.warn({ rolloutId, ...stopped }, "stopped what brings a recalled version");
    }
    await pool.run(countSql);
  }
}

const anySql = sql`SELECT EXISTS (SELECT FROM recalls WHERE reinstated_at IS NULL) AS some`;

/** Whether a recall changed is told by its `updated_at`, which is no matter of this. */
const countSql = sql`
  UPDATE recalls c SET running_count = g.device_count FROM deployment_rings g
  WHERE g.rollout_id = c.rollout_id AND c.reinstated_at IS NULL AND g.device_count IS NOT NULL
    AND c.running_count IS DISTINCT FROM g.device_count`;
