import type { Session } from "../../infra/database/session.ts";
import { prepared, type Sql, sql } from "../../infra/database/sql.ts";
import type { ClockVerdict } from "../state/clock-verdict.ts";
import type { ReportedFacts } from "../state/device.entity.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { HeartbeatRecord } from "../state/heartbeat-record.ts";
import { type ReadingRow, readingOf } from "../state/reading-row.ts";
import { type Standing, standingSql } from "../state/standing.ts";
import { type ExpectedInterval, expectedInterval } from "./expected-interval.ts";

/** A device as operators see it: its record and what its newest heartbeat said. */
export interface DeviceDetails {
  readonly id: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly product: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly tags: readonly string[];
  readonly updatePin: UpdatePin;
  readonly standing: Standing;
  readonly metadata: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Undefined while it is in service. */
  readonly retiredAt: Date | undefined;
  /** Until when its serial number may enrol once more; undefined if it may not. The time may have passed. */
  readonly enrolUntil: Date | undefined;
  /** Since when it is suspected to have a clone; undefined if it is not. */
  readonly cloneSuspectedAt: Date | undefined;
  /** Since when an operator wants it to exchange its token; undefined if none does. */
  readonly tokenRotationRequestedAt: Date | undefined;
  /** Without errors and metrics; undefined before the first one. */
  readonly lastHeartbeat: HeartbeatRecord | undefined;
  readonly securityCounter: number;
  readonly expectedInterval: ExpectedInterval;
  /** What its newest heartbeat shows of its clock; undefined if nothing. */
  readonly clock: { readonly verdict: ClockVerdict; readonly offsetMs: number } | undefined;
  /** What it says of its client. */
  readonly reported: Readonly<ReportedFacts>;
}

/** Reads one device, retired or not. */
export async function readDevice(session: Session, id: string): Promise<DeviceDetails | undefined> {
  const rows = await session.query<DeviceDetailsRow>(readSql, [id]);
  return rows.map(detailsOf)[0];
}

/** The head of a query for devices, to be followed by WHERE; `extra` is one more column. */
export function selectDetails(extra?: Sql): Sql {
  return sql`
  SELECT d.id, d.serial_number, d.device_type, d.hardware_model, d.product, d.display_name, d.groups, d.tags, d.update_pin, ${standingSql} AS standing, d.metadata, d.reported,
         d.expected_interval_ms AS operator_interval,
         (SELECT t.expected_interval_ms FROM device_types t WHERE t.name = d.device_type) AS type_interval,
         d.created_at AS made_at, d.updated_at AS changed_at, d.deleted_at, d.enrol_until, d.clone_suspected_at, d.token_rotation_requested_at${extra === undefined ? sql`` : sql`, ${extra}`}, s.*
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id`;
}

/** A row of such a query. */
export interface DeviceDetailsRow extends ReadingRow {
  readonly id: string;
  readonly serial_number: string;
  readonly device_type: string;
  readonly hardware_model: string;
  readonly product: string;
  readonly display_name: string;
  readonly groups: string[];
  readonly tags: string[];
  readonly update_pin: UpdatePin;
  readonly standing: Standing;
  readonly metadata: Record<string, string>;
  readonly reported: ReportedFacts;
  readonly operator_interval: string | null;
  readonly type_interval: string | null;
  readonly made_at: Date;
  readonly changed_at: Date;
  readonly deleted_at: Date | null;
  readonly enrol_until: Date | null;
  readonly clone_suspected_at: Date | null;
  readonly token_rotation_requested_at: Date | null;
  readonly last_seen_at: Date | null;
  readonly last_device_time: Date | null;
  readonly clock_offset_ms: string | null;
  readonly clock_verdict: ClockVerdict | null;
  readonly last_sequence: string;
  readonly security_counter: string | null;
}

/** What the row says. */
export function detailsOf(row: DeviceDetailsRow): DeviceDetails {
  return {
    id: row.id,
    serialNumber: row.serial_number,
    deviceType: row.device_type,
    hardwareModel: row.hardware_model,
    product: row.product,
    displayName: row.display_name,
    groups: row.groups,
    tags: row.tags,
    updatePin: row.update_pin,
    standing: row.standing,
    metadata: row.metadata,
    createdAt: row.made_at,
    updatedAt: row.changed_at,
    retiredAt: row.deleted_at ?? undefined,
    enrolUntil: row.enrol_until ?? undefined,
    cloneSuspectedAt: row.clone_suspected_at ?? undefined,
    tokenRotationRequestedAt: row.token_rotation_requested_at ?? undefined,
    lastHeartbeat: row.last_seen_at === null ? undefined : heartbeatOf(row, row.last_seen_at),
    securityCounter: Number(row.security_counter ?? 0),
    expectedInterval: expectedInterval({
      operatorMs: row.operator_interval === null ? undefined : Number(row.operator_interval),
      deviceMs: row.reported.intervalMs,
      typeMs: row.type_interval === null ? undefined : Number(row.type_interval),
    }),
    clock: clockOf(row),
    reported: row.reported,
  };
}

function clockOf({
  clock_verdict: verdict,
  clock_offset_ms: offsetMs,
}: DeviceDetailsRow): DeviceDetails["clock"] {
  return verdict === null ? undefined : { verdict, offsetMs: Number(offsetMs) };
}

function heartbeatOf(row: DeviceDetailsRow, receivedAt: Date): HeartbeatRecord {
  return {
    deviceId: row.id,
    ...readingOf(row),
    sequence: Number(row.last_sequence),
    receivedAt,
    deviceTime: row.last_device_time ?? undefined,
    securityCounter: Number(row.security_counter ?? 0),
    errors: [],
    metrics: undefined,
  };
}

const readSql = prepared("device_read_details", sql`${selectDetails()} WHERE d.id = $1`);
