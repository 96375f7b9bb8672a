import type { Pool } from "pg";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { type ReadingRow, readingOf } from "./reading-row.ts";

/** A device as operators see it: its record and what its newest heartbeat said. */
export interface DeviceDetails {
  readonly id: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Undefined while it is in service. */
  readonly retiredAt: Date | undefined;
  /** Without errors and metrics; undefined before the first one. */
  readonly lastHeartbeat: HeartbeatRecord | undefined;
  readonly securityCounter: number;
}

/** Which devices to list. All given conditions must hold; an empty list is no condition. */
export interface DeviceFilter {
  readonly deviceTypes: readonly string[];
  readonly hardwareModels: readonly string[];
  /** In at least one of these. */
  readonly groups: readonly string[];
  readonly firmwareVersions: readonly string[];
  readonly serialNumberPrefix: string;
  readonly showRetired: boolean;
}

/** Reads one device, retired or not. */
export async function readDevice(pool: Pool, id: string): Promise<DeviceDetails | undefined> {
  const { rows } = await pool.query<DetailsRow>({
    name: "device_read_details",
    text: `${selectDetails} WHERE d.id = $1`,
    values: [id],
  });
  return rows.map(detailsOf)[0];
}

/** Reads a page of devices, newest first, beginning after the device `after`. */
export async function readDevices(
  pool: Pool,
  filter: DeviceFilter,
  page: { readonly limit: number; readonly after: string | undefined },
): Promise<DeviceDetails[]> {
  const values: unknown[] = [];
  const conditions: string[] = [];
  const require = (condition: (parameter: string) => string, value: unknown): void => {
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  if (!filter.showRetired) conditions.push("NOT d.is_deleted");
  if (page.after !== undefined) require((p) => `d.id < ${p}::uuid`, page.after);
  if (filter.deviceTypes.length > 0) require((p) => `d.device_type = ANY(${p}::text[])`, filter.deviceTypes);
  if (filter.hardwareModels.length > 0)
    require((p) => `d.hardware_model = ANY(${p}::text[])`, filter.hardwareModels);
  if (filter.groups.length > 0) require((p) => `d.groups && ${p}::text[]`, filter.groups);
  if (filter.firmwareVersions.length > 0) {
    require((p) => `s.firmware_version = ANY(${p}::text[])`, filter.firmwareVersions);
  }
  if (filter.serialNumberPrefix !== "")
    require((p) => `starts_with(d.serial_number, ${p})`, filter.serialNumberPrefix);
  values.push(page.limit);
  const { rows } = await pool.query<DetailsRow>(
    `${selectDetails} ${conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`}
      ORDER BY d.id DESC LIMIT $${values.length}`,
    values,
  );
  return rows.map(detailsOf);
}

const selectDetails = `
  SELECT d.id, d.serial_number, d.device_type, d.hardware_model, d.display_name, d.groups, d.metadata, d.created_at AS made_at,
         d.updated_at AS changed_at, d.deleted_at, s.*
    FROM devices d LEFT JOIN device_state s ON s.device_id = d.id`;

interface DetailsRow extends ReadingRow {
  readonly id: string;
  readonly serial_number: string;
  readonly device_type: string;
  readonly hardware_model: string;
  readonly display_name: string;
  readonly groups: string[];
  readonly metadata: Record<string, string>;
  readonly made_at: Date;
  readonly changed_at: Date;
  readonly deleted_at: Date | null;
  readonly last_seen_at: Date | null;
  readonly last_device_time: Date | null;
  readonly last_sequence: string;
  readonly security_counter: string | null;
}

function detailsOf(row: DetailsRow): DeviceDetails {
  return {
    id: row.id,
    serialNumber: row.serial_number,
    deviceType: row.device_type,
    hardwareModel: row.hardware_model,
    displayName: row.display_name,
    groups: row.groups,
    metadata: row.metadata,
    createdAt: row.made_at,
    updatedAt: row.changed_at,
    retiredAt: row.deleted_at ?? undefined,
    lastHeartbeat: row.last_seen_at === null ? undefined : heartbeatOf(row, row.last_seen_at),
    securityCounter: Number(row.security_counter ?? 0),
  };
}

function heartbeatOf(row: DetailsRow, receivedAt: Date): HeartbeatRecord {
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
