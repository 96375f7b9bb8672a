import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { ClockStep } from "./hearing-span.ts";

/**
 * Keeps when the database's clock was set, as each replica notices it, so that one that starts later does not take the step
 * for time that has passed.
 */
export class ClockStepLog {
  readonly #pool: Session;
  readonly #noted: ClockStep[] = [];

  constructor(pool: Session) {
    this.#pool = pool;
  }

  /** The clock was set. */
  note(step: ClockStep): void {
    this.#noted.push(step);
  }

  /** Writes what was noted; what cannot be written is kept for the next time. Called about every second. */
  async tick(): Promise<void> {
    for (let [step] = this.#noted; step !== undefined; [step] = this.#noted) {
      await this.#pool.run(noteSql, [new Date(step.fromMs), new Date(step.toMs)]);
      this.#noted.shift();
    }
  }
}

/** The last steps of the database's clock that were noted, oldest first. */
export async function readClockSteps(pool: Session): Promise<ClockStep[]> {
  return await pool.query<ClockStep>(stepsSql);
}

const stepsSql = sql`
  SELECT (extract(epoch FROM stepped_from) * 1000)::float8 AS "fromMs",
    (extract(epoch FROM stepped_to) * 1000)::float8 AS "toMs"
  FROM clock_steps ORDER BY id`;

/** Notes a step, and forgets all but the last few. */
const noteSql = sql`
  WITH old AS (DELETE FROM clock_steps WHERE id < (SELECT max(id) FROM clock_steps) - 30)
  INSERT INTO clock_steps (stepped_from, stepped_to) VALUES ($1::timestamptz, $2::timestamptz)`;
