import type { Session } from "../../infra/database/session.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { DeviceUpdateState, UpdateAction } from "../model/device-update.entity.ts";
import type { OpenUpdate, UpdateKey } from "../model/open-update.ts";

/** Which open updates to read; all of them if nothing is set. */
export interface OpenUpdateSelection {
  readonly rolloutId?: string | undefined;
  readonly deviceIds?: readonly string[] | undefined;
}

/** Reads open updates. */
export async function readOpenUpdates(
  session: Session,
  selection: OpenUpdateSelection,
): Promise<OpenUpdate[]> {
  const { rolloutId, deviceIds } = selection;
  const rows = await session.query<OpenRow>(openSql, [rolloutId ?? null, deviceIds ?? null]);
  return rows.map(toOpenUpdate);
}

/** How far an open update is: whoever knows that need not read the rest. */
export interface OpenProgress extends UpdateKey {
  readonly state: DeviceUpdateState;
  readonly crashCount: number;
  readonly notBeforeMs: number | undefined;
  readonly missing: boolean;
}

/**
 * The database's time, or when the oldest transaction that is under way began: what changes after a read is changed since
 * then. At most {@link overlap} back, and as far where the role may not see the transactions of others.
 */
export async function readClock(session: Session): Promise<string> {
  const [row] = await session.query<{ as_of: string }>(clockSql);
  return row?.as_of ?? "";
}

/**
 * How far the open updates are that changed since a time of {@link readClock}. Some of them come more than once, and most
 * are known already; so this is one text, which costs a tenth of rows.
 */
export async function readChanged(session: Session, since: string): Promise<OpenProgress[]> {
  const [row] = await session.query<{ changed: string | null }>(changedSql, [since]);
  const changed = row?.changed;
  if (!changed) return [];
  return changed.split("\n").map((line) => {
    const [deviceId = "", id = "", state, crashCount, missing, notBeforeMs = ""] = line.split(" ");
    return {
      deviceId,
      id,
      state: state as DeviceUpdateState,
      crashCount: Number(crashCount),
      missing: missing === "t",
      notBeforeMs: notBeforeMs === "" ? undefined : Number(notBeforeMs),
    };
  });
}

/** The ids of all open updates. */
export async function readOpenKeys(session: Session): Promise<Set<string>> {
  const rows = await session.query<{ id: string }>(openIdsSql);
  return new Set(rows.map(({ id }) => id));
}

/** The states of updates, open or not, by id. */
export async function readStates(
  session: Session,
  keys: readonly UpdateKey[],
): Promise<Map<string, DeviceUpdateState>> {
  const rows = await session.query<{ id: string; state: DeviceUpdateState }>(statesSql, [
    keys.map(({ deviceId }) => deviceId),
    keys.map(({ id }) => id),
  ]);
  return new Map(rows.map(({ id, state }) => [id, state]));
}

/** Longer than a transaction of ours may take to commit after it set the time of its rows. */
const overlap = sql`interval '15 seconds'`;

/**
 * A fixed overlap alone would have every change read again each second for as long as it is. Rows have the time at which
 * their transaction began or a later one, so those of one that commits later are not before the oldest that is under way;
 * the second is for one that has begun and does not show yet.
 */
const clockSql = sql`
  SELECT greatest(statement_timestamp() - ${overlap},
    least(statement_timestamp(), min(CASE query WHEN '<insufficient privilege>' THEN '-infinity' ELSE xact_start END))
      - interval '1 second')::text AS as_of
  FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`;

const openIdsSql = sql`SELECT id FROM device_updates WHERE ended_at IS NULL`;

const statesSql = sql`
  SELECT u.id, u.state FROM device_updates u
  JOIN unnest($1::uuid[], $2::uuid[]) AS k (device_id, id) ON k.device_id = u.device_id AND k.id = u.id`;

const changedSql = prepared(
  "rollout_changed_updates",
  sql`
  SELECT string_agg(concat(device_id, ' ', id, ' ', state, ' ', crash_count, ' ',
    missing_since IS NOT NULL, ' ', floor(extract(epoch FROM not_before) * 1000)::bigint), E'\\n') AS changed
  FROM device_updates WHERE ended_at IS NULL AND updated_at > $1::timestamptz`,
);

const openSql = prepared(
  "rollout_open_updates",
  sql`
  SELECT u.device_id, u.id, u.rollout_id, u.ring_id, u.firmware_id, u.action, u.state, u.from_version, u.to_version,
    u.from_boot_id, u.crash_count, u.offered_at, u.installing_at, u.proven_at, u.deadline_at,
    u.missing_since, (r.policy->>'returnMs')::float8 AS return_ms,
    (r.policy->>'verificationMs')::float8 AS verification_ms, (r.policy->>'crashLimit')::int AS crash_limit,
    coalesce((r.policy->>'maxRetries')::int, 0) AS max_retries,
    coalesce((r.policy->>'retryBackoffMs')::float8, 0) AS retry_backoff_ms,
    (r.policy->>'deviceTimeoutMs')::float8 AS device_timeout_ms, u.attempt, u.not_before,
    f.security_counter::float8 AS target_counter, f.component, f.reported_versions
  FROM device_updates u JOIN rollouts r ON r.id = u.rollout_id JOIN firmware_updates f ON f.id = u.firmware_id
  WHERE u.ended_at IS NULL
    AND ($1::uuid IS NULL OR u.rollout_id = $1::uuid)
    AND ($2::uuid[] IS NULL OR u.device_id = ANY ($2::uuid[]))`,
);

interface OpenRow {
  device_id: string;
  id: string;
  rollout_id: string;
  ring_id: string;
  firmware_id: string;
  action: UpdateAction;
  state: DeviceUpdateState;
  from_version: string;
  to_version: string;
  from_boot_id: string;
  crash_count: number;
  offered_at: Date;
  installing_at: Date | null;
  proven_at: Date | null;
  deadline_at: Date | null;
  missing_since: Date | null;
  return_ms: number | null;
  verification_ms: number;
  crash_limit: number;
  max_retries: number;
  retry_backoff_ms: number;
  device_timeout_ms: number;
  attempt: number;
  not_before: Date | null;
  target_counter: number;
  component: string;
  reported_versions: string[];
}

function toOpenUpdate(row: OpenRow): OpenUpdate {
  return {
    deviceId: row.device_id,
    id: row.id,
    rolloutId: row.rollout_id,
    ringId: row.ring_id,
    firmwareId: row.firmware_id,
    action: row.action,
    state: row.state,
    fromVersion: row.from_version,
    toVersion: row.to_version,
    reportedVersions: row.reported_versions,
    fromBootId: row.from_boot_id,
    crashCount: row.crash_count,
    offeredAtMs: row.offered_at.getTime(),
    installingAtMs: row.installing_at?.getTime(),
    provenAtMs: row.proven_at?.getTime(),
    deadlineAtMs: row.deadline_at?.getTime() ?? Number.POSITIVE_INFINITY,
    taken: row.installing_at !== null,
    verificationMs: row.verification_ms,
    crashLimit: row.crash_limit,
    maxRetries: row.max_retries,
    retryBackoffMs: row.retry_backoff_ms,
    deviceTimeoutMs: row.device_timeout_ms,
    returnMs: row.return_ms,
    missingSinceMs: row.missing_since?.getTime(),
    attempt: row.attempt,
    notBeforeMs: row.not_before?.getTime(),
    securityCounter: row.target_counter,
    component: row.component,
    watchedBootId: undefined,
  };
}
