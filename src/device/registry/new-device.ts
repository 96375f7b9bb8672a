import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import { serialNumberFault } from "../../device-names.ts";
import { invalidArgument } from "../../errors.ts";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { EnrolmentMark } from "./enrolment-retry.ts";
import { requireTargetNames } from "./target-names.ts";

/** A device to be. */
export interface NewDevice {
  readonly product: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly firmwareVersion: string | undefined;
  readonly keyId: string | null;
  /** By what a repeat of its enrolment is known; undefined if an operator registered it. */
  readonly mark: EnrolmentMark | undefined;
  /** Since when it is in quarantine, if it must be approved. */
  readonly quarantinedAt: Date | undefined;
}

/**
 * Inserts a device and returns its id, or undefined if the serial number is in service. Two at the same time: the second
 * waits for the first one's transaction.
 */
export async function insertDevice(em: EntityManager, device: NewDevice): Promise<string | undefined> {
  const [row] = await sessionOf(em).query<{ id: string }>(insertSql, [
    uuidv7(),
    device.serialNumber,
    device.deviceType,
    device.hardwareModel,
    device.product,
    device.displayName,
    device.groups,
    JSON.stringify(device.metadata),
    device.keyId,
    device.mark?.requestId,
    JSON.stringify(device.firmwareVersion === undefined ? {} : { firmwareVersion: device.firmwareVersion }),
    device.mark?.at,
    device.mark?.source,
    device.mark?.digest,
    device.quarantinedAt,
  ]);
  return row?.id;
}

const insertSql = sql`
  INSERT INTO devices (id, serial_number, device_type, hardware_model, product, display_name, groups, metadata,
                       enrolment_key_id, enrol_request_id, reported, enrolled_at, enrol_source, enrol_digest, quarantined_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
  ON CONFLICT (serial_number) WHERE NOT is_deleted DO NOTHING
  RETURNING id`;

/** Refuses what names no device, device type or hardware model. */
export function requireNames({
  serialNumber,
  deviceType,
  hardwareModel,
}: Pick<NewDevice, "serialNumber" | "deviceType" | "hardwareModel">): void {
  const fault = serialNumberFault(serialNumber);
  if (fault !== undefined) throw invalidArgument("serial_number", fault);
  requireTargetNames({ device_type: deviceType, hardware_model: hardwareModel });
}

/** Devices call their versions what they like; the database keeps neither of these characters. */
export function requireStorable(version: string): void {
  if (version.includes("\0") || !version.isWellFormed()) {
    throw invalidArgument(
      "firmware_version",
      "must be well-formed text without the character NUL",
      "INVALID_VERSION",
    );
  }
}
