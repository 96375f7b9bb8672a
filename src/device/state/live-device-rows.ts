import type { EntityManager } from "@mikro-orm/postgresql";
import { type Session, sessionOf } from "../../infra/database/session.ts";
import { identifier, joined, prepared, sql } from "../../infra/database/sql.ts";
import type { ClockVerdict } from "./clock-verdict.ts";
import { type DeviceSnapshot, LiveDevice, SharedTexts } from "./device-snapshot.ts";
import type { FaultTimes, UpdatePin } from "./filterable-device.ts";
import { readingsOfRow } from "./reading-row.ts";
import { heldReadings, type Readings } from "./readings.ts";
import { type Standing, standingSql } from "./standing.ts";

/** Reads devices by id, retired ones too, with texts shared among them. */
export async function readDevices(
  session: Session,
  ids: readonly string[],
  texts: SharedTexts,
  readAtSeconds: number,
): Promise<ReadonlyMap<string, LiveDevice>> {
  const rows = await session.query<DeviceStateRow>(readManySql, [ids]);
  return new Map(rows.map((row) => [row.id, liveDevice(row, texts, readAtSeconds)]));
}

/** Reads a device as a transaction sees it; undefined if there is none. */
export async function readDeviceIn(em: EntityManager, id: string): Promise<DeviceSnapshot | undefined> {
  const [row] = await sessionOf(em).query<DeviceStateRow>(readOneSql, [id]);
  return row === undefined ? undefined : liveDevice(row, new SharedTexts(), 0);
}

interface DeviceStateRow {
  readonly id: string;
  readonly device_type: string;
  readonly hardware_model: string;
  readonly product: string;
  readonly serial_number: string;
  readonly display_name: string;
  readonly groups: string[];
  readonly tags: string[];
  readonly metadata: Record<string, string>;
  readonly update_pin: UpdatePin;
  readonly standing: Standing;
  readonly clone_suspected_at: Date | null;
  readonly created_at: Date;
  readonly enrolment_key_id: string | null;
  readonly is_deleted: boolean;
  readonly enrolled_version: string | null;
  readonly expected_interval: string | null;
  readonly fault_times: FaultTimes | null;
  readonly last_seen_at: Date | null;
  readonly clock_verdict: ClockVerdict | null;
  readonly epoch: number | null;
  readonly last_sequence: string | null;
  readonly firmware_version: string | null;
  readonly boot_id: string | null;
  readonly components: Record<string, string> | null;
  readonly security_counter: string | null;
}

const held = heldReadings.map(({ column }) => sql`s.${identifier(column)}`);

const readSql = sql`
  SELECT d.id, d.serial_number, d.device_type, d.hardware_model, d.product, d.display_name, d.groups, d.tags, d.metadata, d.update_pin,
         ${standingSql} AS standing, d.clone_suspected_at,
         d.created_at, d.enrolment_key_id, d.is_deleted,
         d.reported->>'firmwareVersion' AS enrolled_version, expected_interval_of(d) AS expected_interval,
         (SELECT jsonb_object_agg(kind, ms) FROM (
            SELECT kind, floor(extract(epoch FROM max(noticed_at)) * 1000) AS ms
              FROM heartbeat_faults WHERE device_id = d.id GROUP BY kind) AS noticed) AS fault_times,
         s.last_seen_at, s.clock_verdict, s.epoch, s.last_sequence, s.firmware_version, s.boot_id, s.components, s.security_counter,
         ${joined(held, sql`, `)}
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id`;

const readManySql = prepared("device_read_devices", sql`${readSql} WHERE d.id = ANY($1::uuid[])`);

const readOneSql = sql`${readSql} WHERE d.id = $1`;

/** Most devices have none: they share it. */
const noMetadata: Readonly<Record<string, string>> = {};
const noFaults: FaultTimes = {};

function liveDevice(row: DeviceStateRow, texts: SharedTexts, readAtSeconds: number): LiveDevice {
  const device = new LiveDevice(
    {
      id: row.id,
      serialNumber: row.serial_number,
      deviceType: texts.text(row.device_type),
      hardwareModel: texts.text(row.hardware_model),
      displayName: texts.text(row.display_name),
      groups: texts.list(row.groups),
      tags: texts.list(row.tags),
      metadata: Object.keys(row.metadata).length === 0 ? noMetadata : row.metadata,
      updatePin: row.update_pin,
      standing: row.standing,
      cloneSuspectedAtMs: row.clone_suspected_at?.getTime(),
      createdAtMs: row.created_at.getTime(),
      expectedIntervalMs: row.expected_interval === null ? undefined : Number(row.expected_interval),
      faultTimes: row.fault_times ?? noFaults,
      retired: row.is_deleted,
      product: texts.text(row.product),
      enrolmentKeyId: row.enrolment_key_id === null ? undefined : texts.text(row.enrolment_key_id),
      enrolledVersion: texts.text(row.enrolled_version ?? ""),
    },
    readAtSeconds,
  );
  if (row.last_seen_at !== null) {
    device.take({
      epoch: row.epoch ?? 0,
      sequence: Number(row.last_sequence),
      receivedAt: row.last_seen_at,
      firmwareVersion: texts.text(row.firmware_version ?? ""),
      bootId: row.boot_id ?? "",
      ...sharedReadings(row, texts),
      components: row.components ?? undefined,
      securityCounter: Number(row.security_counter),
    });
    device.clockVerdict = row.clock_verdict ?? undefined;
  }
  return device;
}

/** The readings in a row, with shared texts. */
function sharedReadings(row: DeviceStateRow, texts: SharedTexts): Readings {
  const shared: Record<string, unknown> = { ...readingsOfRow(row) };
  for (const { property } of heldReadings) {
    const value = shared[property];
    if (typeof value === "string") shared[property] = texts.text(value);
  }
  return shared;
}
