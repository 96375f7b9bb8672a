import { recalledFirmwareSql } from "../../firmware/recalls.ts";
import { RowArrays } from "../../infra/database/row-arrays.ts";
import type { Session } from "../../infra/database/session.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { DeviceUpdateState } from "../model/device-update.entity.ts";
import type { UpdateKey, UpdatePatch } from "../model/open-update.ts";
import { alertRollbackSql } from "../model/rollback-words.ts";
import { isActive } from "../model/rollout-state.ts";
import { insertTries } from "./insert-tries.ts";
import type { NextTry } from "./next-try.ts";
import {
  type FurtherTry,
  type LockedRollout,
  makeOffers,
  type NewOffer,
  type OfferOutcome,
  rolloutsOf,
} from "./transition-offers.ts";

/** A change of one device's update: compare-and-set on the state that the caller saw. */
export interface UpdateChange extends UpdatePatch {
  readonly key: UpdateKey;
  readonly rolloutId: string;
  readonly from: DeviceUpdateState;
  /** May equal `from`: then only the rest changes. */
  readonly to: DeviceUpdateState;
  /** The try that follows a failed one; not made if the rollout is being rolled back or over by then. */
  readonly nextTry?: NextTry | undefined;
}

/** What a batch did. */
export interface BatchResult {
  /** Ids of the updates that changed as asked; the others had another state. */
  readonly applied: ReadonlySet<string>;
  /** By id of the offer. */
  readonly offers: ReadonlyMap<string, OfferOutcome>;
}

/**
 * Writes changes and offers in one transaction; the counters follow by triggers from the rows that really changed. At most
 * one entry a device.
 *
 * Locks are taken in this order, here and wherever else rollouts change: rollouts, device updates, rings; each in the
 * order of their ids. The rollout's row is the root: whoever decides over a rollout locks it for update and so sees
 * counters that equal the rows; writers share it, unless they make offers (the limit of devices in progress must be
 * exact) or end updates (which may count in the rollout's own row).
 */
export async function writeBatch(
  session: Session,
  changes: readonly UpdateChange[],
  offers: readonly (NewOffer | FurtherTry)[],
): Promise<BatchResult> {
  const rolloutIds = [
    ...new Set([...changes.map(({ rolloutId }) => rolloutId), ...offers.flatMap(rolloutsOf)]),
  ];
  const exclusive = offers.length > 0 || changes.some(({ endedAt }) => endedAt !== undefined);
  const rollouts = await lockRollouts(session, rolloutIds, exclusive);
  const allowed = changes.map((change) => withAllowedTry(change, rollouts.get(change.rolloutId)));
  const rows = await updateRows(session, allowed);
  const applied = new Set(rows.map(({ id }) => id));
  await makeTries(session, allowed, applied);
  const outcomes = await makeOffers(session, offers, rollouts);
  const alerted = new Set(rows.filter((row) => row.not_back).map((row) => row.rollout_id));
  for (const rolloutId of [...alerted].sort()) await session.run(alertRollbackSql, [rolloutId]);
  return { applied, offers: outcomes };
}

async function lockRollouts(
  session: Session,
  ids: readonly string[],
  exclusive: boolean,
): Promise<Map<string, LockedRollout>> {
  const rows = await session.query<LockedRollout>(exclusive ? lockSql : shareSql, [ids]);
  return new Map(rows.map((row) => [row.id, row]));
}

const rolloutsSql = sql`
  SELECT id, state, (policy->>'maxInProgress')::int AS max_in_progress,
    (policy->>'offersPerMinute')::int AS offers_per_minute, pace_count,
    (extract(epoch FROM pace_began_at) * 1000)::float8 AS pace_began_ms,
    firmware_id IN ${recalledFirmwareSql} AS recalled, recall_id IS NOT NULL AS is_way_out
  FROM rollouts
  WHERE id = ANY ($1::uuid[]) AND NOT is_deleted ORDER BY id`;

const lockSql = prepared("rollout_lock", sql`${rolloutsSql} FOR NO KEY UPDATE`);

const shareSql = prepared("rollout_share", sql`${rolloutsSql} FOR SHARE`);

/** A failed try is followed by another one only where the rollout still wants that. */
function withAllowedTry(change: UpdateChange, rollout: LockedRollout | undefined): UpdateChange {
  const { nextTry } = change;
  if (nextTry === undefined) return change;
  return rollout !== undefined && wantsTry(rollout, nextTry) ? change : { ...change, nextTry: undefined };
}

function wantsTry({ state, recalled }: LockedRollout, { rollback }: NextTry): boolean {
  return rollback ? isActive(state) || state === "ROLLING_BACK" : isActive(state) && !recalled;
}

interface ChangedRow {
  readonly id: string;
  readonly rollout_id: string;
  /** Whether it ended as a rollback that must not be made, or whose device is away. */
  readonly not_back: boolean;
}

async function updateRows(session: Session, changes: readonly UpdateChange[]): Promise<ChangedRow[]> {
  if (changes.length === 0) return [];
  const sorted = [...changes].sort((a, b) => (a.key.deviceId < b.key.deviceId ? -1 : 1));
  return await session.query<ChangedRow>(updateSql, changed.values(sorted));
}

const changed = new RowArrays<UpdateChange>({
  device_id: ["uuid", ({ key }) => key.deviceId],
  id: ["uuid", ({ key }) => key.id],
  from_state: ["text", ({ from }) => from],
  to_state: ["text", ({ to }) => to],
  from_boot_id: ["text", ({ fromBootId }) => fromBootId],
  crash_count: ["int", ({ crashCount }) => crashCount],
  downloaded_bytes: ["bigint", ({ downloadedBytes }) => downloadedBytes],
  installing_at: ["timestamptz", ({ installingAt }) => installingAt],
  proven_at: ["timestamptz", ({ provenAt }) => provenAt],
  verify_until: ["timestamptz", ({ verifyUntil }) => verifyUntil],
  deadline_at: ["timestamptz", ({ deadlineAt }) => deadlineAt],
  failure_reason: ["text", ({ failureReason }) => failureReason],
  failure_message: ["text", ({ failureMessage }) => failureMessage],
  ended_at: ["timestamptz", ({ endedAt }) => endedAt],
  retry_at: ["timestamptz", ({ nextTry }) => nextTry?.notBefore],
  missing_since: ["timestamptz", ({ missingSince }) => missingSince],
});

/** The rows are locked in the order of the devices first: an UPDATE with a join may visit them in any order. */
const updateSql = prepared(
  "rollout_update_changes",
  sql`
  WITH c AS (
    SELECT * FROM ${changed.as(sql`c`)}
  ), locked AS MATERIALIZED (
    SELECT u.device_id, u.id FROM device_updates u JOIN c ON c.device_id = u.device_id AND c.id = u.id
    WHERE u.state = c.from_state AND u.ended_at IS NULL
    ORDER BY u.device_id FOR UPDATE OF u
  )
  UPDATE device_updates u SET
    state = c.to_state,
    from_boot_id = coalesce(c.from_boot_id, u.from_boot_id),
    crash_count = coalesce(c.crash_count, u.crash_count),
    downloaded_bytes = greatest(c.downloaded_bytes, u.downloaded_bytes),
    installing_at = coalesce(u.installing_at, c.installing_at),
    proven_at = coalesce(u.proven_at, c.proven_at),
    verify_until = coalesce(c.verify_until, u.verify_until),
    deadline_at = coalesce(c.deadline_at, u.deadline_at),
    failure_reason = coalesce(c.failure_reason, u.failure_reason),
    failure_message = coalesce(c.failure_message, u.failure_message),
    ended_at = c.ended_at,
    retry_at = c.retry_at,
    missing_since = CASE WHEN c.to_state = 'TIMED_OUT' THEN u.missing_since ELSE c.missing_since END,
    updated_at = clock_timestamp()
  FROM c JOIN locked l ON l.device_id = c.device_id AND l.id = c.id
  WHERE u.device_id = c.device_id AND u.id = c.id AND u.state = c.from_state AND u.ended_at IS NULL
  RETURNING u.id, u.rollout_id,
    u.action = 'ROLLBACK' AND u.ended_at IS NOT NULL AND u.retry_at IS NULL
      AND (u.failure_reason LIKE 'ROLLBACK\\_%' OR u.state = 'TIMED_OUT') AS not_back`,
);

/** Makes the tries that follow those that failed just now. */
async function makeTries(
  session: Session,
  changes: readonly UpdateChange[],
  applied: ReadonlySet<string>,
): Promise<void> {
  const tries = changes.flatMap(({ nextTry, key: { deviceId, id } }) =>
    nextTry !== undefined && applied.has(id) ? [{ ...nextTry, deviceId, failedId: id }] : [],
  );
  await insertTries(session, tries);
}
