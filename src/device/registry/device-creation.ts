import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { AuditEntry, AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials, DeviceToken } from "../../access/device-credentials.ts";
import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import { type Session, sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import type { NewDevice } from "./new-device.ts";

/** A device of an inventory. */
export type DeviceToCreate = Pick<
  NewDevice,
  "serialNumber" | "deviceType" | "hardwareModel" | "product" | "displayName" | "groups" | "metadata"
>;

/** Devices that an operator registers together. */
export interface CreationRequest {
  /** Who asks, as the audit log names callers. */
  readonly actor: string;
  readonly requestId: string;
  /** Their names must be fit (see `requireNames`). At most 1,000. */
  readonly devices: readonly DeviceToCreate[];
  /** Until how long from now they may enrol by themselves, in milliseconds, instead of a token; undefined: each gets a token. */
  readonly enrolWithinMs: number | undefined;
}

/** What became of a device of a {@link CreationRequest}: made by it, there before, or refused. */
export type CreationOutcome =
  | { readonly kind: "created"; readonly deviceId: string; readonly token: DeviceToken | undefined }
  | { readonly kind: "existing"; readonly deviceId: string }
  | { readonly kind: "refused"; readonly error: OtaError };

/** What a {@link DeviceCreation} is made of. */
export interface DeviceCreationParts {
  readonly database: Pick<Database, "transact">;
  readonly idempotency: IdempotencyKeys;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: Pick<DeviceChanges, "publishAll">;
  readonly clock: Clock;
}

/** Registers many devices at once: what takes a statement each for one device takes the same statements for a thousand. */
export class DeviceCreation {
  readonly #parts: DeviceCreationParts;

  constructor(parts: DeviceCreationParts) {
    this.#parts = parts;
  }

  /**
   * Registers the devices that can be, in one transaction, and returns what became of each. A repeat with the same request id
   * gives what it made before fresh tokens; the ones before stop working, and connections by them end. Throws `REQUEST_ID_REUSED`.
   */
  async create({
    actor,
    requestId,
    devices,
    enrolWithinMs,
  }: CreationRequest): Promise<readonly CreationOutcome[]> {
    const { database, idempotency, credentials, changes, clock } = this.#parts;
    const key = {
      caller: actor,
      method: "ota.v1.DeviceService/CreateDevices",
      requestId,
      requestDigest: requestDigest({ devices, enrolWithinMs }),
    };
    const enrolUntil =
      enrolWithinMs === undefined ? undefined : new Date(clock.now().getTime() + enrolWithinMs);
    const work = async (em: EntityManager) => {
      const session = sessionOf(em);
      const request = await idempotency.once(em, key, async () => {
        const firstId = uuidv7();
        const rows = rowsOf(devices, firstId);
        const made = await insert(session, rows, enrolUntil);
        await this.#record(
          em,
          { actor, action: "device.register" },
          rows.filter(({ id }) => made.has(id)),
        );
        return firstId;
      });
      const rows = rowsOf(devices, request.resourceId);
      const standing = await inService(session, devices);
      const made = rows.filter(({ id, serialNumber }) => standing.get(serialNumber)?.id === id);
      const ids = made.map(({ id }) => id);
      const reissued = request.repeated && enrolUntil === undefined ? made : [];
      const replaced = await revoke(em, credentials, reissued);
      await this.#record(em, { actor, action: "device.reissue_credential" }, reissued);
      const tokens = enrolUntil === undefined ? await credentials.issueMany(em, ids) : undefined;
      return { outcomes: outcomesOf(devices, { rows, standing, tokens }), replaced, reissued };
    };
    const { outcomes, replaced, reissued } = await database.transact(work, { retry: { attempts: 5 } });
    credentials.forget(replaced);
    const reissuedIds = reissued.map(({ id }) => id);
    changes.publishAll("credentials_revoked", reissuedIds);
    return outcomes;
  }

  async #record(
    em: EntityManager,
    did: Pick<AuditEntry, "actor" | "action">,
    rows: readonly Row[],
  ): Promise<void> {
    const entries = rows.map(({ id, serialNumber, deviceType }) => ({
      ...did,
      resourceType: "device",
      resourceId: id,
      details: { serial_number: serialNumber, device_type: deviceType },
    }));
    await this.#parts.audit.recordAll(em, entries);
  }
}

/** A device to be with the id that it is to have. */
type Row = DeviceToCreate & { readonly id: string };

/**
 * The devices with their ids, each serial number once. The ids follow from the first one's, so that it is all that must be
 * remembered of a request to know again what it made: all end in the device's place, and have some 60 random bits before it.
 */
function rowsOf(devices: readonly DeviceToCreate[], firstId: string): readonly Row[] {
  const rows = new Map<string, Row>();
  for (const [place, device] of devices.entries()) {
    if (rows.has(device.serialNumber)) continue;
    const id = `${firstId.slice(0, -4)}${place.toString(16).padStart(4, "0")}`;
    rows.set(device.serialNumber, { ...device, id });
  }
  return [...rows.values()];
}

/** Inserts those whose serial number is not in service; returns their ids. */
async function insert(
  session: Session,
  rows: readonly Row[],
  enrolUntil: Date | undefined,
): Promise<ReadonlySet<string>> {
  const made = await session.query<{ id: string }>(insertSql, [JSON.stringify(rows), enrolUntil ?? null]);
  return new Set(made.map(({ id }) => id));
}

interface Standing {
  readonly id: string;
  readonly device_type: string;
  readonly hardware_model: string;
  readonly product: string;
}

/** The devices in service under these serial numbers. */
async function inService(
  session: Session,
  devices: readonly DeviceToCreate[],
): Promise<ReadonlyMap<string, Standing>> {
  const serialNumbers = devices.map(({ serialNumber }) => serialNumber);
  const rows = await session.query<Standing & { serial_number: string }>(inServiceSql, [serialNumbers]);
  return new Map(rows.map((row) => [row.serial_number, row]));
}

async function revoke(
  em: EntityManager,
  credentials: DeviceCredentials,
  rows: readonly Row[],
): Promise<readonly Uint8Array[]> {
  const ids = rows.map(({ id }) => id);
  return ids.length === 0 ? [] : await credentials.revokeAll(em, ids, "its registration was repeated");
}

function outcomesOf(
  devices: readonly DeviceToCreate[],
  found: {
    readonly rows: readonly Row[];
    readonly standing: ReadonlyMap<string, Standing>;
    readonly tokens: ReadonlyMap<string, DeviceToken> | undefined;
  },
): readonly CreationOutcome[] {
  const rows = new Map(found.rows.map((row) => [row.serialNumber, row]));
  const seen = new Set<string>();
  return devices.map((device): CreationOutcome => {
    const { serialNumber } = device;
    if (seen.has(serialNumber)) return refused(serialNumber, "stands in this request before");
    seen.add(serialNumber);
    const standing = found.standing.get(serialNumber);
    // Made by this request before, and retired since.
    if (standing === undefined) return refused(serialNumber, "was retired meanwhile");
    const { id } = standing;
    if (id === rows.get(serialNumber)?.id)
      return { kind: "created", deviceId: id, token: found.tokens?.get(id) };
    const another = differing(device, standing);
    if (another === undefined) return { kind: "existing", deviceId: id };
    return refused(serialNumber, `is in service with another ${another}`);
  });
}

/** What an inventory and the registry say differently of a device, in words. */
function differing(device: DeviceToCreate, standing: Standing): string | undefined {
  if (device.deviceType !== standing.device_type) return "device type";
  if (device.hardwareModel !== standing.hardware_model) return "hardware model";
  return device.product === standing.product ? undefined : "product";
}

function refused(serialNumber: string, why: string): CreationOutcome {
  const error = new OtaError("already_exists", "DUPLICATE", `the serial number ${serialNumber} ${why}`, {
    metadata: { field: "serial_number", serial_number: serialNumber },
  });
  return { kind: "refused", error };
}

/** In the order of the serial numbers, so that two requests with the same ones wait for each other and never in a circle. */
const insertSql = sql`
  INSERT INTO devices (id, serial_number, device_type, hardware_model, product, display_name, groups, metadata, reported, enrol_until)
  SELECT id, "serialNumber", "deviceType", "hardwareModel", product, "displayName", groups, metadata, '{}', $2
    FROM jsonb_to_recordset($1) AS r (id uuid, "serialNumber" text, "deviceType" text, "hardwareModel" text, product text,
                                      "displayName" text, groups text[], metadata jsonb)
   ORDER BY "serialNumber" COLLATE "C"
  ON CONFLICT (serial_number) WHERE NOT is_deleted DO NOTHING
  RETURNING id`;

const inServiceSql = sql`
  SELECT id, serial_number, device_type, hardware_model, product FROM devices
   WHERE serial_number = ANY($1::text[]) AND NOT is_deleted`;
