import type { ListCondition } from "../../filter/list-filter.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { Session } from "../../infra/database/session.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import { canonicalVersion } from "../../version/semantic-version.ts";
import type { RingState, StoredGate } from "./deployment-ring.entity.ts";
import { everyDevice, planGate, planPolicy } from "./new-rollout.ts";
import type {
  Metadata,
  RolloutState,
  StoredPolicy,
  StoredRollbackPlan,
  StoredTargeting,
} from "./rollout.entity.ts";
import type { Ring, Rollout } from "./rollout.ts";
import {
  type Counts,
  countsSql,
  keyCounters,
  type RingCounters,
  ringCounters,
  rollbackCounters,
} from "./rollout-counters.ts";

/** Which rollouts to read; conditions are combined with AND. */
export interface RolloutSelection {
  readonly ids?: readonly string[] | undefined;
  readonly states?: readonly RolloutState[] | undefined;
  /** Also completed ones with a rollback of some of their devices that is still to be made. */
  readonly orPlanned?: boolean | undefined;
  readonly firmwareId?: string | undefined;
  readonly firmwareVersion?: string | undefined;
  /** Only those that have each of these. */
  readonly metadata?: Metadata | undefined;
  /** Archived ones as well. */
  readonly showArchived?: boolean | undefined;
  /** What an expression says beside. */
  readonly matching?: ListCondition | undefined;
  /** Only ids below this one. */
  readonly before?: string | undefined;
  readonly limit?: number | undefined;
}

/** Reads rollouts with their rings and counters, newest first. */
export async function readRollouts(session: Session, selection: RolloutSelection): Promise<Rollout[]> {
  const { ids, states, orPlanned, firmwareId, firmwareVersion, metadata, before, limit } = selection;
  const parameters = new Parameters([
    ids ?? null,
    states === undefined || states.length === 0 ? null : states,
    firmwareId ?? null,
    before ?? null,
    limit ?? maxRollouts,
    firmwareVersion === undefined ? null : (canonicalVersion(firmwareVersion) ?? firmwareVersion),
    orPlanned ?? false,
    selection.showArchived ?? false,
    JSON.stringify(metadata ?? {}),
  ]);
  const matching = selection.matching?.sql(parameters) ?? sql`true`;
  const rows = await session.query<RolloutRecord>(rolloutsSql(matching), parameters.values);
  if (rows.length === 0) return [];
  const rings = await session.query<RingRecord>(ringsSql, [rows.map(({ id }) => id)]);
  const keys = await session.query<KeyRecord>(keysSql, [rings.map(({ id }) => id)]);
  const keysOf = Map.groupBy(keys, (key) => key.ring_id);
  const byRollout = Map.groupBy(rings, (ring) => ring.rollout_id);
  return rows.map((row) => toRollout(row, byRollout.get(row.id) ?? [], keysOf));
}

/** No installation comes near it; it only keeps a mistake from filling the memory. */
const maxRollouts = 100_000;

/** A time in milliseconds since 1970. */
function ms(column: Sql): Sql {
  return sql`(extract(epoch from ${column}) * 1000)::float8`;
}

const rolloutsSql = (matching: Sql) => sql`
  SELECT r.id, coalesce(r.salt, r.id) AS salt, r.name, r.firmware_id, f.product, f.version AS firmware_version, r.state, r.state_reason,
    r.targeting::text AS targeting, r.policy::text AS policy, r.version AS revision,
    ${countsSql(rollbackCounters, sql`r`)} AS rollback,
    CASE WHEN r.rollback_plan IS NULL THEN 0 ELSE (
      SELECT count(*) FROM device_updates w WHERE w.rollout_id = r.id AND w.take_back_by IS NOT NULL
    ) END::float8 AS rollback_waiting,
    r.rollback_plan::text AS rollback_plan, r.alert, r.missing_versions, r.creator, f.kind, f.component,
    f.damaged_at IS NOT NULL AS content_damaged,
    ${ms(sql`r.created_at`)} AS created_ms, ${ms(sql`r.updated_at`)} AS updated_ms,
    ${ms(sql`r.started_at`)} AS started_ms, ${ms(sql`r.ended_at`)} AS ended_ms,
    r.metadata::text AS metadata, ${ms(sql`r.archived_at`)} AS archived_ms,
    (SELECT c.version FROM recalls c WHERE c.id = r.recall_id) AS recalled_version
  FROM rollouts r JOIN firmware_updates f ON f.id = r.firmware_id
  WHERE (NOT r.is_deleted OR $8::boolean)
    AND ($1::uuid[] IS NULL OR r.id = ANY ($1::uuid[]))
    AND ($2::text[] IS NULL OR r.state = ANY ($2::text[])
      OR $7::boolean AND r.state = 'COMPLETED' AND r.rollback_plan IS NOT NULL)
    AND ($3::uuid IS NULL OR r.firmware_id = $3::uuid)
    AND ($4::uuid IS NULL OR r.id < $4::uuid)
    AND ($6::text IS NULL OR f.version = $6::text)
    AND r.metadata @> $9::jsonb AND ${matching}
  ORDER BY r.id DESC
  LIMIT $5::int`;

const ringsSql = sql`
  SELECT id, rollout_id, position::int AS position, name, percent_basis_points, asked_basis_points, device_target, state, gate::text AS gate,
    ${countsSql(ringCounters, sql`g`)} AS counters,
    device_count::float8 AS device_count, eligible_count::float8 AS eligible_count,
    awaited_count::float8 AS awaited_count, reachable_count::float8 AS reachable_count,
    held_back_count::float8 AS held_back_count, gone_count::float8 AS gone_count, ${ms(sql`counted_at`)} AS counted_ms,
    ${ms(sql`opened_at`)} AS opened_ms, ${ms(sql`gate_held_since`)} AS held_ms, ${ms(sql`passed_at`)} AS passed_ms,
    approver, ${ms(sql`approved_at`)} AS approved_ms, metadata::text AS metadata
  FROM deployment_rings g
  WHERE rollout_id = ANY ($1::uuid[])
  ORDER BY rollout_id, position`;

/** The keys with the most devices of each ring: those with few cannot turn a decision. */
const keysSql = sql`
  SELECT k.ring_id, k.enrolment_key_id AS key_id, ${countsSql(keyCounters, sql`k`)} AS counters
  FROM unnest($1::uuid[]) AS r (id)
  CROSS JOIN LATERAL (
    SELECT * FROM ring_key_counts c WHERE c.ring_id = r.id ORDER BY c.offered_count DESC LIMIT 8
  ) k`;

interface KeyRecord {
  ring_id: string;
  key_id: string;
  counters: string;
}

interface RolloutRecord {
  id: string;
  salt: string;
  name: string;
  firmware_id: string;
  product: string;
  firmware_version: string;
  state: RolloutState;
  state_reason: string;
  targeting: string;
  policy: string;
  revision: number;
  rollback: string;
  rollback_waiting: number;
  rollback_plan: string | null;
  alert: string;
  content_damaged: boolean;
  missing_versions: string[];
  creator: string;
  kind: Rollout["kind"];
  component: string;
  created_ms: number;
  updated_ms: number;
  started_ms: number | null;
  ended_ms: number | null;
  metadata: string;
  archived_ms: number | null;
  recalled_version: string | null;
}

interface RingRecord {
  id: string;
  rollout_id: string;
  position: number;
  name: string;
  percent_basis_points: number;
  asked_basis_points: number | null;
  device_target: number | null;
  state: RingState;
  gate: string;
  counters: string;
  device_count: number | null;
  eligible_count: number | null;
  awaited_count: number | null;
  reachable_count: number | null;
  held_back_count: number | null;
  gone_count: number | null;
  counted_ms: number | null;
  opened_ms: number | null;
  held_ms: number | null;
  passed_ms: number | null;
  approver: string;
  approved_ms: number | null;
  metadata: string;
}

function toRollout(
  row: RolloutRecord,
  rings: readonly RingRecord[],
  keysOf: ReadonlyMap<string, KeyRecord[]>,
): Rollout {
  return {
    id: row.id,
    salt: row.salt,
    name: row.name,
    firmwareId: row.firmware_id,
    product: row.product,
    version: row.firmware_version,
    state: row.state,
    stateReason: row.state_reason,
    kind: row.kind,
    component: row.component,
    creator: row.creator,
    alert: row.alert,
    contentDamaged: row.content_damaged,
    missingVersions: row.missing_versions,
    // What a rollout from before a field was known lacks is as if it had not been set.
    targeting: { ...everyDevice, ...(JSON.parse(row.targeting) as Partial<StoredTargeting>) },
    policy: { ...unsetPolicy, ...(JSON.parse(row.policy) as StoredPolicy) },
    rings: rings.map((ring) => toRing(ring, keysOf.get(ring.id) ?? [])),
    rollback: {
      ...(JSON.parse(row.rollback) as Counts<typeof rollbackCounters>),
      waiting: row.rollback_waiting,
    },
    rollbackPlan:
      row.rollback_plan === null ? undefined : (JSON.parse(row.rollback_plan) as StoredRollbackPlan),
    revision: row.revision,
    createdAt: new Date(row.created_ms),
    updatedAt: new Date(row.updated_ms),
    startedAt: dateOf(row.started_ms),
    endedAt: dateOf(row.ended_ms),
    metadata: JSON.parse(row.metadata) as Metadata,
    recalledVersion: row.recalled_version ?? undefined,
    archivedAt: dateOf(row.archived_ms),
  };
}

function toRing(row: RingRecord, keys: readonly KeyRecord[]): Ring {
  return {
    id: row.id,
    position: row.position,
    name: row.name,
    percentBasisPoints: row.percent_basis_points,
    askedBasisPoints: row.asked_basis_points ?? undefined,
    deviceTarget: row.device_target ?? undefined,
    state: row.state,
    gate: { ...unsetGate, ...(JSON.parse(row.gate) as StoredGate) },
    counters: JSON.parse(row.counters) as RingCounters,
    census:
      row.counted_ms === null
        ? undefined
        : {
            devices: row.device_count ?? 0,
            eligible: row.eligible_count ?? 0,
            awaited: row.awaited_count ?? 0,
            reachable: row.reachable_count ?? 0,
            heldBack: row.held_back_count ?? 0,
            gone: row.gone_count ?? 0,
            countedAt: new Date(row.counted_ms),
          },
    openedAt: dateOf(row.opened_ms),
    gateHeldSince: dateOf(row.held_ms),
    passedAt: dateOf(row.passed_ms),
    approver: row.approver,
    approvedAt: dateOf(row.approved_ms),
    metadata: JSON.parse(row.metadata) as Metadata,
    keys: keys.map(({ key_id, counters }) => ({
      keyId: key_id,
      ...(JSON.parse(counters) as Counts<typeof keyCounters>),
    })),
  };
}

const unsetPolicy = planPolicy({}, { failureThresholdPercent: 100, deviceTimeoutMs: 0 });

const unsetGate = planGate();

function dateOf(value: number | null): Date | undefined {
  return value === null ? undefined : new Date(value);
}
