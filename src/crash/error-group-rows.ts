import type { Severity } from "../device/state/severity.ts";
import { type StoredErrorReport, storedError } from "../device/state/stored-error.ts";
import type { ParameterType } from "../infra/database/parameters.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import type { ErrorGroup, ErrorGroupState, ErrorOccurrence, GroupOrder } from "./error-group.ts";
import type { StackKind } from "./stacks/stack.ts";

/** Reads groups, with what they are ordered by as text in full precision. Conditions and order follow. */
export function groupsSql(order: GroupOrder): Sql {
  return sql`SELECT g.*, ${groupOrders[order].column}::text AS order_key FROM error_groups g`;
}

/** What lists of groups are ordered by. */
export const groupOrders = {
  last_seen_time: { column: sql`g.last_seen_at`, type: "timestamptz" },
  first_seen_time: { column: sql`g.first_seen_at`, type: "timestamptz" },
  occurrence_count: { column: sql`g.occurrence_count`, type: "bigint" },
  device_count: { column: sql`g.device_count`, type: "bigint" },
} as const satisfies Record<GroupOrder, { column: Sql; type: ParameterType }>;

/** A row of {@link groupsSql} as pg parses it: bigint comes as text. */
export interface GroupRecord {
  readonly id: string;
  readonly fingerprint: string;
  readonly state: ErrorGroupState;
  readonly title: string;
  readonly code: string;
  readonly severity: Severity;
  readonly fatal: boolean;
  readonly stack_kind: StackKind;
  readonly occurrence_count: string;
  readonly device_count: string;
  readonly first_seen_at: Date;
  readonly last_seen_at: Date;
  readonly first_seen_version: string;
  readonly last_seen_version: string;
  readonly resolved_version: string;
  readonly regressed_at: Date | null;
  readonly state_reason: string;
  readonly grouped_by: string;
  readonly merged_into: string | null;
  readonly order_key: string;
}

/** A group from its row. */
export function groupOf(row: GroupRecord): ErrorGroup {
  return {
    id: row.id,
    fingerprint: row.fingerprint,
    state: row.state,
    title: row.title,
    code: row.code,
    severity: row.severity,
    fatal: row.fatal,
    stackKind: row.stack_kind,
    occurrenceCount: Number(row.occurrence_count),
    deviceCount: Number(row.device_count),
    firstSeenAt: row.first_seen_at,
    lastSeenAt: row.last_seen_at,
    firstSeenVersion: row.first_seen_version,
    lastSeenVersion: row.last_seen_version,
    resolvedVersion: row.resolved_version,
    regressedAt: row.regressed_at ?? undefined,
    stateReason: row.state_reason,
    groupedBy: row.grouped_by,
    mergedInto: row.merged_into ?? undefined,
  };
}

/** A row of error_group_devices with the device's name. */
export interface GroupDeviceRecord {
  readonly device_id: string;
  readonly serial_number: string;
  readonly occurrence_count: string;
  readonly first_seen_at: Date;
  readonly last_seen_at: Date;
  readonly last_seen_version: string;
}

/**
 * Reads at most `limit` occurrences, newest first, with their text from the heartbeats that hold it: each by its key. One whose
 * heartbeat is gone is left out.
 */
export function occurrencesSql(condition: Sql, limit: Sql): Sql {
  return sql`SELECT o.id, o.group_id, o.device_id, o.received_at, o.crash_log_id, h.device_time, h.firmware_version,
      h.boot_id, h.report
    FROM error_occurrences o
    CROSS JOIN LATERAL (
      SELECT device_time, firmware_version, boot_id, errors -> o.position::int AS report FROM device_heartbeats
      WHERE device_id = o.device_id AND received_at = o.received_at AND sequence = o.sequence LIMIT 1) h
    WHERE ${condition} AND h.report IS NOT NULL
    ORDER BY o.received_at DESC, o.id DESC LIMIT ${limit}`;
}

/** A row of {@link occurrencesSql}. */
export interface OccurrenceRecord {
  readonly id: string;
  readonly group_id: string;
  readonly device_id: string;
  readonly received_at: Date;
  readonly crash_log_id: string | null;
  readonly device_time: Date | null;
  readonly firmware_version: string;
  readonly boot_id: string;
  readonly report: StoredErrorReport;
}

/** An occurrence from its row. A log that the device named counts only if it was its own. */
export function occurrenceOf(row: OccurrenceRecord): ErrorOccurrence {
  return {
    id: row.id,
    groupId: row.group_id,
    deviceId: row.device_id,
    report: { ...storedError(row.report), crashLogId: row.crash_log_id ?? undefined },
    receivedAt: row.received_at,
    deviceTime: row.device_time ?? undefined,
    firmwareVersion: row.firmware_version,
    bootId: row.boot_id,
  };
}
