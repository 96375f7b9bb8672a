import type { DeviceError } from "../device/state/heartbeat-record.ts";
import { type StoredErrorReport, storedError } from "../device/state/stored-error.ts";
import type { Session } from "../infra/database/session.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import {
  crashLogKey,
  type ErrorTally,
  type GroupDeviceRow,
  type GroupRow,
  type Sighting,
  type StoredErrors,
} from "./error-tally.ts";
import { fingerprintVersion } from "./fingerprint.ts";

/** A heartbeat with errors that was taken out of the inbox. */
export interface InboxHeartbeat {
  readonly deviceId: string;
  readonly deviceType: string;
  readonly receivedAtMs: number;
  readonly receivedAtKey: string;
  readonly sequence: number;
  readonly firmwareVersion: string;
  readonly errors: readonly DeviceError[];
}

/** Takes heartbeats out of the inbox, oldest first. Those whose day was dropped meanwhile go with it. */
export async function takeHeartbeats(
  session: Session,
  limit: number,
): Promise<{ readonly taken: number; readonly heartbeats: InboxHeartbeat[] }> {
  const rows = await session.query<InboxRow>(takeSql, [limit]);
  const heartbeats: InboxHeartbeat[] = [];
  for (const row of rows) {
    if (row.errors === null) continue;
    heartbeats.push({
      deviceId: row.device_id,
      deviceType: row.device_type,
      receivedAtMs: row.ms,
      receivedAtKey: row.received_at_key,
      sequence: row.sequence,
      firmwareVersion: row.firmware_version ?? "",
      errors: (JSON.parse(row.errors) as StoredErrorReport[]).map(storedError),
    });
  }
  return { taken: rows.length, heartbeats };
}

/** Takes the oldest heartbeat out of the inbox without a look into it; says which it was. */
export async function dropOldest(
  session: Session,
): Promise<{ readonly deviceId: string; readonly sequence: number } | undefined> {
  const [row] = await session.query<{ device_id: string; sequence: number }>(dropOldestSql);
  return row === undefined ? undefined : { deviceId: row.device_id, sequence: row.sequence };
}

/** Locks the groups with these fingerprints, and those that they were merged into, and reads them. */
export async function lockGroups(session: Session, fingerprints: Iterable<string>): Promise<GroupRow[]> {
  const groups = await session.query<GroupRow>(lockGroupsSql, [JSON.stringify([...fingerprints])]);
  const known = new Set(groups.map(({ id }) => id));
  const wholes = new Set(groups.flatMap(({ merged_into: id }) => (id === null || known.has(id) ? [] : [id])));
  return wholes.size === 0
    ? groups
    : [...groups, ...(await session.query<GroupRow>(lockWholesSql, [JSON.stringify([...wholes])]))];
}

/** How many groups there are, counted up to `most`. */
export async function countGroups(session: Session, most: number): Promise<number> {
  const [row] = await session.query<{ count: number }>(countGroupsSql, [most]);
  return row?.count ?? 0;
}

/** Reads what else the tally needs, and notes that the named crash logs are wanted. */
export async function readStored(
  session: Session,
  groups: readonly GroupRow[],
  sightings: readonly Sighting[],
): Promise<StoredErrors> {
  const byFingerprint = new Map(groups.map((group) => [group.fingerprint, group]));
  const pairs = new Map<string, { group_id: string; device_id: string }>();
  const logs = new Map<string, { id: string; device_id: string }>();
  for (const { fingerprint, deviceId, report } of sightings) {
    const group = byFingerprint.get(fingerprint.sha256);
    for (const id of [group?.id, group?.merged_into]) {
      if (id !== undefined && id !== null)
        pairs.set(`${id} ${deviceId}`, { group_id: id, device_id: deviceId });
    }
    const { crashLogId } = report;
    if (crashLogId !== undefined && isUuid.test(crashLogId)) {
      logs.set(crashLogKey(crashLogId, deviceId), { id: crashLogId, device_id: deviceId });
    }
  }
  const devices = await session.query<GroupDeviceRow>(groupDevicesSql, [JSON.stringify([...pairs.values()])]);
  const known =
    logs.size === 0
      ? []
      : await session.query<{ id: string; device_id: string }>(referLogsSql, [
          JSON.stringify([...logs.values()]),
        ]);
  return {
    groups,
    devices,
    crashLogs: new Set(known.map(({ id, device_id }) => crashLogKey(id, device_id))),
  };
}

/** Writes a tally: everything that it holds replaces what is stored, but counts, which are added. */
export async function writeTally(session: Session, tally: ErrorTally): Promise<void> {
  await session.run(writeGroupsSql, [fingerprintVersion, JSON.stringify([...tally.groups.values()])]);
  await session.run(addCountsSql, [JSON.stringify([...tally.counts.values()])]);
  await session.run(writeGroupDevicesSql, [JSON.stringify([...tally.devices.values()])]);
  await session.run(addOccurrencesSql, [JSON.stringify(tally.occurrences)]);
}

const isUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

interface InboxRow {
  readonly device_id: string;
  readonly device_type: string;
  readonly ms: number;
  readonly received_at_key: string;
  readonly sequence: number;
  readonly firmware_version: string | null;
  readonly errors: string | null;
}

/** A time in milliseconds since 1970. */
function ms(column: Sql): Sql {
  return sql`(extract(epoch from ${column}) * 1000)::float8`;
}

function at(column: Sql): Sql {
  return sql`to_timestamp(${column} / 1000)`;
}

/** LATERAL with a limit makes the planner look each heartbeat up by its key, in its own partition. */
const takeSql = sql`
  WITH taken AS (
     DELETE FROM error_inbox WHERE (received_at, device_id, sequence) IN (
       SELECT received_at, device_id, sequence FROM error_inbox ORDER BY received_at, device_id, sequence LIMIT $1)
     RETURNING received_at, device_id, sequence)
   SELECT t.device_id, t.received_at::text AS received_at_key, (extract(epoch from t.received_at) * 1000)::float8 AS ms,
     t.sequence::float8 AS sequence, h.firmware_version, h.errors, coalesce(d.device_type, '') AS device_type
   FROM taken t
   LEFT JOIN LATERAL (
     SELECT firmware_version, errors::text AS errors FROM device_heartbeats
     WHERE device_id = t.device_id AND received_at = t.received_at AND sequence = t.sequence LIMIT 1) h ON true
   LEFT JOIN devices d ON d.id = t.device_id
   ORDER BY t.received_at, t.device_id, t.sequence`;

const groupColumns = sql`
  id, fingerprint, state, title, code, severity, fatal, stack_kind,
     occurrence_count::float8 AS occurrence_count, device_count::float8 AS device_count,
     ${ms(sql`first_seen_at`)} AS first_seen_ms, ${ms(sql`last_seen_at`)} AS last_seen_ms, first_seen_version,
     last_seen_version, resolved_version, ${ms(sql`regressed_at`)} AS regressed_ms, state_reason, grouped_by, merged_into`;

const lockWholesSql = sql`
  SELECT ${groupColumns} FROM error_groups
  WHERE id IN (SELECT jsonb_array_elements_text($1::jsonb)::uuid) ORDER BY id FOR UPDATE`;

const lockGroupsSql = sql`
  SELECT ${groupColumns} FROM error_groups WHERE fingerprint IN (SELECT jsonb_array_elements_text($1::jsonb)) ORDER BY id FOR UPDATE`;

const countGroupsSql = sql`SELECT count(*)::float8 AS count FROM (SELECT 1 FROM error_groups LIMIT $1) AS g`;

const groupDevicesSql = sql`
  SELECT d.group_id, d.device_id, d.occurrence_count::float8 AS occurrence_count,
     ${ms(sql`d.first_seen_at`)} AS first_seen_ms, ${ms(sql`d.last_seen_at`)} AS last_seen_ms, d.last_seen_version,
     ${ms(sql`d.kept_hour`)} AS kept_hour_ms, d.kept_count
   FROM jsonb_to_recordset($1::jsonb) AS p (group_id uuid, device_id uuid)
   JOIN error_group_devices d ON d.group_id = p.group_id AND d.device_id = p.device_id`;

const referLogsSql = sql`
  UPDATE crash_logs l SET referenced_at = coalesce(l.referenced_at, now())
   FROM jsonb_to_recordset($1::jsonb) AS n (id uuid, device_id uuid)
   WHERE l.id = n.id AND l.device_id = n.device_id AND l.stored_at IS NOT NULL RETURNING l.id, l.device_id`;

const writeGroupsSql = sql`
  INSERT INTO error_groups AS g (id, fingerprint, fingerprint_version, state, title, code, severity, fatal, stack_kind,
     occurrence_count, device_count, first_seen_at, last_seen_at, first_seen_version, last_seen_version,
     resolved_version, regressed_at, state_reason, grouped_by)
   SELECT id, fingerprint, $1, state, title, code, severity, fatal, stack_kind, occurrence_count, device_count,
     ${at(sql`first_seen_ms`)}, ${at(sql`last_seen_ms`)}, first_seen_version, last_seen_version, resolved_version,
     ${at(sql`regressed_ms`)}, state_reason, grouped_by
   FROM jsonb_to_recordset($2::jsonb) AS r (id uuid, fingerprint text, state text, title text, code text,
     severity text, fatal boolean, stack_kind text, occurrence_count bigint, device_count bigint,
     first_seen_ms float8, last_seen_ms float8, first_seen_version text, last_seen_version text,
     resolved_version text, regressed_ms float8, state_reason text, grouped_by text)
   ORDER BY id
   ON CONFLICT (id) DO UPDATE SET state = excluded.state, severity = excluded.severity, fatal = excluded.fatal,
     occurrence_count = excluded.occurrence_count, device_count = excluded.device_count,
     first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at,
     first_seen_version = excluded.first_seen_version, last_seen_version = excluded.last_seen_version,
     resolved_version = excluded.resolved_version, regressed_at = excluded.regressed_at,
     state_reason = excluded.state_reason, updated_at = now()`;

const addCountsSql = sql`
  INSERT INTO error_counts AS c (group_id, day, firmware_version, device_type, occurrence_count)
   SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (group_id uuid, day date, firmware_version text, device_type text,
     occurrence_count bigint)
   ON CONFLICT (group_id, day, firmware_version, device_type)
     DO UPDATE SET occurrence_count = c.occurrence_count + excluded.occurrence_count`;

const writeGroupDevicesSql = sql`
  INSERT INTO error_group_devices (group_id, device_id, occurrence_count, first_seen_at, last_seen_at,
     last_seen_version, kept_hour, kept_count)
   SELECT group_id, device_id, occurrence_count, ${at(sql`first_seen_ms`)}, ${at(sql`last_seen_ms`)}, last_seen_version,
     ${at(sql`kept_hour_ms`)}, kept_count
   FROM jsonb_to_recordset($1::jsonb) AS r (group_id uuid, device_id uuid, occurrence_count bigint,
     first_seen_ms float8, last_seen_ms float8, last_seen_version text, kept_hour_ms float8, kept_count smallint)
   ON CONFLICT (group_id, device_id) DO UPDATE SET occurrence_count = excluded.occurrence_count,
     first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at,
     last_seen_version = excluded.last_seen_version, kept_hour = excluded.kept_hour, kept_count = excluded.kept_count`;

const addOccurrencesSql = sql`
  INSERT INTO error_occurrences (id, group_id, device_id, received_at, sequence, position, crash_log_id)
   SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, group_id uuid, device_id uuid, received_at timestamptz,
     sequence bigint, position smallint, crash_log_id uuid)`;

const dropOldestSql = sql`
  DELETE FROM error_inbox WHERE (received_at, device_id, sequence) IN (
     SELECT received_at, device_id, sequence FROM error_inbox ORDER BY received_at, device_id, sequence LIMIT 1)
   RETURNING device_id, sequence::float8 AS sequence`;
