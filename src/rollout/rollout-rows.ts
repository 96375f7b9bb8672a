import type { EntityManager } from "@mikro-orm/postgresql";
import type pg from "pg";
import type { RingState, StoredGate } from "./deployment-ring.entity.ts";
import type { RolloutState, StoredPolicy, StoredTargeting } from "./rollout.entity.ts";
import type { Ring, Rollout } from "./rollout.ts";

/** What a parameter of a {@link Query} may be. Lists travel as text. */
type QueryParameter = string | number | boolean | null;

/** Runs one SQL statement with parameters `$1`, `$2` and so on. */
export type Query = <Row>(sql: string, parameters?: readonly QueryParameter[]) => Promise<Row[]>;

/** Queries on a connection of the pool. */
export function poolQuery(pool: Pick<pg.Pool, "query">): Query {
  return async <Row>(sql: string, parameters: readonly QueryParameter[] = []) =>
    (await pool.query(sql, [...parameters])).rows as Row[];
}

/** Queries within the transaction of an entity manager. The statement must not contain question marks. */
export function transactionQuery(em: EntityManager): Query {
  return async <Row>(sql: string, parameters: readonly QueryParameter[] = []) => {
    const values: QueryParameter[] = [];
    const text = sql.replaceAll(/\$(\d+)/g, (_, number: string) => {
      values.push(parameters[Number(number) - 1] ?? null);
      return "?";
    });
    return (await em.execute<object[]>(text, values)) as Row[];
  };
}

/** Ids as one parameter, for `string_to_array($1, ',')::uuid[]`. */
function idList(ids: Iterable<string>): string {
  return [...ids].join(",");
}

/** Which rollouts to read; conditions are combined with AND. */
export interface RolloutSelection {
  readonly ids?: readonly string[] | undefined;
  readonly states?: readonly RolloutState[] | undefined;
  readonly firmwareId?: string | undefined;
  /** Only ids below this one. */
  readonly before?: string | undefined;
  readonly limit?: number | undefined;
}

/** Reads rollouts with their rings and counters, newest first. */
export async function readRollouts(query: Query, selection: RolloutSelection): Promise<Rollout[]> {
  const { ids, states, firmwareId, before, limit } = selection;
  const rows = await query<RolloutRecord>(rolloutsSql, [
    ids === undefined ? null : idList(ids),
    states === undefined || states.length === 0 ? null : states.join(","),
    firmwareId ?? null,
    before ?? null,
    limit ?? maxRollouts,
  ]);
  if (rows.length === 0) return [];
  const rings = await query<RingRecord>(ringsSql, [idList(rows.map(({ id }) => id))]);
  const byRollout = Map.groupBy(rings, (ring) => ring.rollout_id);
  return rows.map((row) => toRollout(row, byRollout.get(row.id) ?? []));
}

/** No installation comes near it; it only keeps a mistake from filling the memory. */
const maxRollouts = 100_000;

/** Times as milliseconds and counts as float8: read alike by pg's parsers and the ORM's. */
function ms(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::float8`;
}

const rolloutsSql = `
  SELECT r.id, r.name, r.firmware_id, f.product, f.version AS firmware_version, r.state, r.state_reason,
    r.targeting::text AS targeting, r.policy::text AS policy, r.version AS revision,
    r.rollback_total::float8 AS rollback_total, r.rollback_completed::float8 AS rollback_completed,
    r.rollback_failed::float8 AS rollback_failed,
    ${ms("r.created_at")} AS created_ms, ${ms("r.updated_at")} AS updated_ms,
    ${ms("r.started_at")} AS started_ms, ${ms("r.ended_at")} AS ended_ms
  FROM rollouts r JOIN firmware_updates f ON f.id = r.firmware_id
  WHERE NOT r.is_deleted
    AND ($1::text IS NULL OR r.id = ANY (string_to_array($1::text, ',')::uuid[]))
    AND ($2::text IS NULL OR r.state = ANY (string_to_array($2::text, ',')))
    AND ($3::uuid IS NULL OR r.firmware_id = $3::uuid)
    AND ($4::uuid IS NULL OR r.id < $4::uuid)
  ORDER BY r.id DESC
  LIMIT $5::int`;

const ringsSql = `
  SELECT id, rollout_id, position::int AS position, name, percent_basis_points, state, gate::text AS gate,
    offered_count::float8 AS offered, in_progress_count::float8 AS in_progress,
    succeeded_count::float8 AS succeeded, failed_count::float8 AS failed,
    cancelled_count::float8 AS cancelled, rolled_back_count::float8 AS rolled_back,
    ${ms("opened_at")} AS opened_ms, ${ms("gate_held_since")} AS held_ms, ${ms("passed_at")} AS passed_ms
  FROM deployment_rings
  WHERE rollout_id = ANY (string_to_array($1::text, ',')::uuid[])
  ORDER BY rollout_id, position`;

interface RolloutRecord {
  id: string;
  name: string;
  firmware_id: string;
  product: string;
  firmware_version: string;
  state: RolloutState;
  state_reason: string;
  targeting: string;
  policy: string;
  revision: number;
  rollback_total: number;
  rollback_completed: number;
  rollback_failed: number;
  created_ms: number;
  updated_ms: number;
  started_ms: number | null;
  ended_ms: number | null;
}

interface RingRecord {
  id: string;
  rollout_id: string;
  position: number;
  name: string;
  percent_basis_points: number;
  state: RingState;
  gate: string;
  offered: number;
  in_progress: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  rolled_back: number;
  opened_ms: number | null;
  held_ms: number | null;
  passed_ms: number | null;
}

function toRollout(row: RolloutRecord, rings: readonly RingRecord[]): Rollout {
  return {
    id: row.id,
    name: row.name,
    firmwareId: row.firmware_id,
    product: row.product,
    version: row.firmware_version,
    state: row.state,
    stateReason: row.state_reason,
    targeting: JSON.parse(row.targeting) as StoredTargeting,
    policy: JSON.parse(row.policy) as StoredPolicy,
    rings: rings.map(toRing),
    rollback: {
      total: row.rollback_total,
      completed: row.rollback_completed,
      failed: row.rollback_failed,
    },
    revision: row.revision,
    createdAt: new Date(row.created_ms),
    updatedAt: new Date(row.updated_ms),
    startedAt: dateOf(row.started_ms),
    endedAt: dateOf(row.ended_ms),
  };
}

function toRing(row: RingRecord): Ring {
  return {
    id: row.id,
    position: row.position,
    name: row.name,
    percentBasisPoints: row.percent_basis_points,
    state: row.state,
    gate: JSON.parse(row.gate) as StoredGate,
    counters: {
      offered: row.offered,
      inProgress: row.in_progress,
      succeeded: row.succeeded,
      failed: row.failed,
      cancelled: row.cancelled,
      rolledBack: row.rolled_back,
    },
    openedAt: dateOf(row.opened_ms),
    gateHeldSince: dateOf(row.held_ms),
    passedAt: dateOf(row.passed_ms),
  };
}

function dateOf(value: number | null): Date | undefined {
  return value === null ? undefined : new Date(value);
}
