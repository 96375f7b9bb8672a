import type { ListCondition } from "../../filter/list-filter.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { ReadSession, Session } from "../../infra/database/session.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import type { DeviceUpdateState, UpdateAction } from "./device-update.entity.ts";
import type { Metadata } from "./rollout.entity.ts";

/** Which device updates to list; conditions are combined with AND. */
export interface DeviceUpdateFilter {
  readonly rolloutId?: string | undefined;
  readonly deviceId?: string | undefined;
  readonly states: readonly DeviceUpdateState[];
  readonly ring?: string | undefined;
  readonly action?: UpdateAction | undefined;
  readonly failureReason?: string | undefined;
  /** Only updates under way whose devices are missing. */
  readonly missing?: boolean | undefined;
  /** Only updates that succeeded and whose devices have drifted since. */
  readonly drifted?: boolean | undefined;
  /** Only updates that have each of these. */
  readonly metadata?: Metadata | undefined;
  /** Also those of archived rollouts; those of a rollout that is named are listed in any case. */
  readonly showArchived?: boolean | undefined;
  /** What an expression says beside. */
  readonly matching?: ListCondition | undefined;
}

/** A device's part in a rollout, as it is shown. */
export interface DeviceUpdateRecord {
  readonly id: string;
  readonly rolloutId: string;
  readonly deviceId: string;
  readonly firmwareId: string;
  readonly action: UpdateAction;
  readonly state: DeviceUpdateState;
  readonly ring: string;
  readonly fromVersion: string;
  readonly toVersion: string;
  readonly failureReason: string;
  readonly failureMessage: string;
  readonly downloadedBytes: number;
  readonly offeredMs: number;
  readonly updatedMs: number;
  readonly provenMs: number | null;
  readonly endedMs: number | null;
  readonly deadlineMs: number | null;
  readonly attempt: number;
  /** From when on the device may try again. */
  readonly retryMs: number | null;
  readonly component: string;
  /** Since when the device is missing, or was when the update ended. */
  readonly missingMs: number | null;
  /** Of one that succeeded: since when the device runs an older version again by itself. */
  readonly driftedMs: number | null;
  /** That version; empty if it has not drifted. */
  readonly driftedTo: string;
  readonly metadata: Metadata;
  readonly archived: boolean;
}

/** Reads device updates, newest first; ids rise with time. */
export function readDeviceUpdates(
  session: ReadSession,
  filter: DeviceUpdateFilter,
  page: { readonly limit: number; readonly after?: string | undefined },
): Promise<DeviceUpdateRecord[]> {
  const parameters = new Parameters([
    filter.rolloutId ?? null,
    filter.deviceId ?? null,
    filter.states.length === 0 ? null : filter.states,
    filter.ring ?? null,
    filter.action ?? null,
    filter.failureReason ?? null,
    page.after ?? null,
    page.limit,
    filter.missing ?? false,
    filter.drifted ?? false,
    filter.metadata === undefined ? null : JSON.stringify(filter.metadata),
    filter.showArchived ?? false,
  ]);
  const matching = filter.matching?.sql(parameters) ?? sql`true`;
  return session.query<DeviceUpdateRecord>(listSql(matching), parameters.values);
}

/** One device update, of a rollout that is archived or not. */
export async function readDeviceUpdate(
  session: Session,
  { deviceId, id }: { readonly deviceId: string; readonly id: string },
): Promise<DeviceUpdateRecord | undefined> {
  const [record] = await session.query<DeviceUpdateRecord>(oneSql, [deviceId, id]);
  return record;
}

const recordsSql = sql`
  SELECT u.id, u.rollout_id AS "rolloutId", u.device_id AS "deviceId", u.firmware_id AS "firmwareId", u.action, u.state,
    g.name AS ring, u.from_version AS "fromVersion", u.to_version AS "toVersion",
    coalesce(u.failure_reason, '') AS "failureReason", coalesce(u.failure_message, '') AS "failureMessage",
    u.downloaded_bytes::float8 AS "downloadedBytes",
    (extract(epoch FROM u.offered_at) * 1000)::float8 AS "offeredMs",
    (extract(epoch FROM u.updated_at) * 1000)::float8 AS "updatedMs",
    (extract(epoch FROM u.proven_at) * 1000)::float8 AS "provenMs",
    (extract(epoch FROM u.ended_at) * 1000)::float8 AS "endedMs",
    (extract(epoch FROM u.deadline_at) * 1000)::float8 AS "deadlineMs",
    u.attempt, (extract(epoch FROM coalesce(u.retry_at, u.not_before)) * 1000)::float8 AS "retryMs", f.component,
    (extract(epoch FROM u.missing_since) * 1000)::float8 AS "missingMs",
    (extract(epoch FROM u.drifted_at) * 1000)::float8 AS "driftedMs", coalesce(u.drifted_to, '') AS "driftedTo",
    coalesce(u.metadata, '{}') AS metadata, u.is_deleted AS archived
  FROM device_updates u JOIN deployment_rings g ON g.id = u.ring_id JOIN firmware_updates f ON f.id = u.firmware_id`;

const oneSql = sql`${recordsSql} WHERE u.device_id = $1::uuid AND u.id = $2::uuid`;

const listSql = (matching: Sql) => sql`
  ${recordsSql}
  WHERE (NOT u.is_deleted OR $12::boolean OR $1::uuid IS NOT NULL)
    AND ($1::uuid IS NULL OR u.rollout_id = $1::uuid)
    AND ($2::uuid IS NULL OR u.device_id = $2::uuid)
    AND ($3::text[] IS NULL OR u.state = ANY ($3::text[]))
    AND ($4::text IS NULL OR g.name = $4::text)
    AND ($5::text IS NULL OR u.action = $5::text)
    AND ($6::text IS NULL OR u.failure_reason = $6::text)
    AND ($7::uuid IS NULL OR u.id < $7::uuid)
    AND ($11::jsonb IS NULL OR u.metadata @> $11::jsonb)
    AND (NOT $9::boolean OR u.missing_since IS NOT NULL AND u.ended_at IS NULL)
    AND (NOT $10::boolean OR u.drifted_at IS NOT NULL AND u.retry_at IS NULL) AND ${matching}
  ORDER BY u.id DESC
  LIMIT $8::int`;
