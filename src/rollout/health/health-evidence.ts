import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import { addEvidence, type EvidenceSums, noEvidence } from "./evidence-sums.ts";
import { healthSignals, type SignalName } from "./health-signals.ts";
import { pValueOf, type SignalEvidence } from "./health-verdict.ts";

/** What was seen of a rollout's signals, by signal. */
export type RolloutEvidence = ReadonlyMap<SignalName, SignalEvidence>;

/** The health of rollouts in the database, to which every replica adds what it has seen. */
export class HealthEvidence {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Adds to a rollout's signals, all or nothing. */
  async add(rolloutId: string, seen: ReadonlyMap<SignalName, EvidenceSums>): Promise<void> {
    await this.#pool.transact(async (session) => {
      await session.run(ensureSql, [rolloutId, [...seen.keys()], JSON.stringify(noEvidence)]);
      const rows = await session.query<Row>(lockSql, [rolloutId, [...seen.keys()]]);
      for (const row of rows) {
        const sums = addEvidence(row.sums, seen.get(row.signal) ?? noEvidence);
        const signal = healthSignals.find(({ name }) => name === row.signal);
        const p = signal === undefined ? 1 : pValueOf(signal, sums);
        const lowestP = Math.min(row.lowest_p, p);
        await session.run(updateSql, [rolloutId, row.signal, JSON.stringify(sums), lowestP]);
      }
    });
  }

  /** What all replicas have seen of some rollouts. Those of which nothing was seen are left out. */
  async read(rolloutIds: readonly string[]): Promise<Map<string, RolloutEvidence>> {
    const rows = await this.#pool.query<Row & { rollout_id: string }>(readSql, [rolloutIds]);
    const found = new Map<string, Map<SignalName, SignalEvidence>>();
    for (const { rollout_id, signal, sums, lowest_p } of rows) {
      const signals = found.get(rollout_id) ?? new Map<SignalName, SignalEvidence>();
      signals.set(signal, { sums, lowestP: lowest_p });
      found.set(rollout_id, signals);
    }
    return found;
  }
}

interface Row {
  readonly signal: SignalName;
  readonly sums: EvidenceSums;
  readonly lowest_p: number;
}

const ensureSql = sql`
  INSERT INTO rollout_health (rollout_id, signal, sums, lowest_p)
  SELECT $1::uuid, signal, $3::jsonb, 1 FROM unnest($2::text[]) AS signal
  ON CONFLICT DO NOTHING`;

/** In one order, so that two replicas never wait for each other. */
const lockSql = sql`
  SELECT signal, sums, lowest_p FROM rollout_health
  WHERE rollout_id = $1::uuid AND signal = ANY ($2::text[]) ORDER BY signal FOR UPDATE`;

const updateSql = sql`
  UPDATE rollout_health SET sums = $3::jsonb, lowest_p = $4, updated_at = now()
  WHERE rollout_id = $1::uuid AND signal = $2`;

const readSql = sql`
  SELECT rollout_id, signal, sums, lowest_p FROM rollout_health WHERE rollout_id = ANY ($1::uuid[])`;
