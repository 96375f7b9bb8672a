import type { ReadSession } from "../infra/database/session.ts";
import { sql, words } from "../infra/database/sql.ts";
import { ringStates } from "./model/ring-state.ts";
import { ongoingStates, rolloutStates } from "./model/rollout-state.ts";

/** How many there are in a state. */
export interface StateCount {
  readonly state: string;
  readonly count: number;
}

/** How many rollouts there are, and how they stand: for metrics. Archived ones do not count. */
export class RolloutCounts {
  readonly #session: ReadSession;

  constructor(session: ReadSession) {
    this.#session = session;
  }

  /** Rollouts by state, of each state. */
  async rollouts(): Promise<readonly StateCount[]> {
    return inEach(rolloutStates, await this.#session.query<StateCount>(rolloutsSql));
  }

  /** Rings of the rollouts that were started and are not over, by state, of each state. */
  async rings(): Promise<readonly StateCount[]> {
    return inEach(ringStates, await this.#session.query<StateCount>(ringsSql));
  }

  /** Rollouts with an alert. */
  async alerts(): Promise<number> {
    const [row] = await this.#session.query<{ readonly count: number }>(alertsSql);
    return row?.count ?? 0;
  }
}

/** A state without a row has none, and says so: a series that comes and goes cannot be alerted on. */
function inEach(states: readonly string[], rows: readonly StateCount[]): readonly StateCount[] {
  const counts = new Map(rows.map(({ state, count }) => [state, count]));
  return states.map((state) => ({ state, count: counts.get(state) ?? 0 }));
}

const rolloutsSql = sql`
  SELECT state, count(*)::float8 AS count FROM rollouts WHERE NOT is_deleted GROUP BY state`;

const ringsSql = sql`
  SELECT g.state, count(*)::float8 AS count FROM deployment_rings g JOIN rollouts r ON r.id = g.rollout_id
  WHERE NOT r.is_deleted AND r.state IN (${words(ongoingStates)}) GROUP BY g.state`;

const alertsSql = sql`
  SELECT count(*)::float8 AS count FROM rollouts WHERE NOT is_deleted AND alert <> ''`;
