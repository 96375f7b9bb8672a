import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials } from "../../access/device-credentials.ts";
import type { EnrolmentKeys } from "../../access/enrolment-keys.ts";
import { serialNumberFault } from "../../device-names.ts";
import { illegalTransition, invalidArgument, OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { Turns } from "../../infra/turns.ts";
import { DeviceEntity, type DeviceRow } from "../state/device.entity.ts";
import type { DeviceChange, DeviceChanges } from "../state/device-changes.ts";
import { forgetState } from "../state/replaced-state.ts";
import type { DeviceIdentityObserver } from "./identity-observer.ts";
import { requireTargetNames } from "./target-names.ts";

/** What a device says of itself when it enrols. */
export interface EnrolmentRequest {
  /** The device's UUID of this try. */
  readonly requestId: string;
  /** The secret of an enrolment key. */
  readonly enrolmentKey: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** The product that it runs; empty if it does not say. */
  readonly product: string;
  readonly firmwareVersion: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A device as an operator registers it. */
export interface RegistrationRequest {
  /** Who asks, as the audit log names callers. */
  readonly actor: string;
  readonly requestId: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  /** The product that it runs; empty if nobody says. */
  readonly product: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** A device that may speak from now on. */
export interface AdmittedDevice {
  readonly deviceId: string;
  /** Its bearer token, which is stored nowhere. */
  readonly token: string;
}

/** A device that enrolled by itself. */
export interface EnrolledDevice extends AdmittedDevice {
  /** The epoch that its heartbeats are counted in, from 1. */
  readonly epoch: number;
  /** The highest sequence of that epoch that is stored. */
  readonly durableSequence: number;
}

/** Where the heartbeats of devices are counted. */
interface HeartbeatMarks {
  current(em: EntityManager, deviceId: string): Promise<Mark>;
  /** Begins an epoch that the device never used. */
  begin(em: EntityManager, deviceId: string): Promise<Mark & { readonly heardBefore: boolean }>;
}

type Mark = Pick<EnrolledDevice, "epoch" | "durableSequence">;

/** What {@link DeviceEnrolment} is made of. */
export interface DeviceEnrolmentParts {
  readonly database: Pick<Database, "transact">;
  readonly idempotency: IdempotencyKeys;
  readonly keys: EnrolmentKeys;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly marks: HeartbeatMarks;
  readonly identity: readonly DeviceIdentityObserver[];
  readonly clock: Clock;
}

/** How devices come into the fleet: by themselves with an enrolment key, or registered by an operator. */
export class DeviceEnrolment {
  readonly #parts: DeviceEnrolmentParts;
  readonly #turns = new Turns(enrolmentTurns);

  constructor(parts: DeviceEnrolmentParts) {
    this.#parts = parts;
  }

  /**
   * Enrols a device. The serial number is its natural key: a repeat with the same request id, serial number and key is a
   * retry and gets the same device with a fresh credential, while the lost one stops working; a device that holds no
   * working credential, because an operator reset it, enrols again as the same device, whatever board it is now: its
   * heartbeats are counted anew, and what the board before had said of itself is forgotten. A crowd waits in order. Throws
   * `ENROLMENT_KEY_INVALID`, `ENROLMENT_KEY_EXHAUSTED`, `DUPLICATE`, `REQUEST_ID_REUSED` for a retry that differs,
   * `INVALID_VERSION`, or `QUEUE_FULL` if the crowd is too large.
   */
  async enrol(request: EnrolmentRequest, signal?: AbortSignal): Promise<EnrolledDevice> {
    requireNames(request);
    requireStorable(request.firmwareVersion);
    return await this.#turns.run(async () => this.#finish(await this.#admit(request)), signal);
  }

  /**
   * Registers a device on its behalf. A repeat with the same request id gets the same device with a fresh credential, and
   * the lost one stops working. Throws `DUPLICATE` for a serial number that is in service, or `REQUEST_ID_REUSED`.
   */
  async register(request: RegistrationRequest): Promise<AdmittedDevice> {
    const { idempotency, credentials, audit } = this.#parts;
    requireNames(request);
    const { actor, requestId, ...body } = request;
    const key = {
      caller: actor,
      method: "ota.v1.DeviceService/RegisterDevice",
      requestId,
      requestDigest: requestDigest(body),
    };
    const admission = await this.#transaction(async (em) => {
      const outcome = await idempotency.once(em, key, async () => {
        const id = await insertDevice(em, {
          ...request,
          requestId: null,
          firmwareVersion: undefined,
          keyId: null,
        });
        if (id === undefined) throw duplicate(request.serialNumber);
        return id;
      });
      const deviceId = outcome.resourceId;
      if (outcome.repeated && (await em.findOne(DeviceEntity, deviceId)) === null) {
        throw illegalTransition("device", "register", "retired", []);
      }
      const replaced = await credentials.revokeAll(em, deviceId, "its registration was repeated");
      const token = await credentials.issue(em, deviceId);
      await audit.record(em, {
        actor,
        action: outcome.repeated ? "device.reissue_credential" : "device.register",
        resourceType: "device",
        resourceId: deviceId,
        details: { serial_number: request.serialNumber, device_type: request.deviceType },
      });
      const change = outcome.repeated ? "credentials_revoked" : undefined;
      return { deviceId, token, replaced, change } as const;
    });
    return this.#finish(admission);
  }

  async #admit(request: EnrolmentRequest): Promise<Admission & Mark> {
    return await this.#transaction(async (em) => {
      const keyId = await this.#parts.keys.check(em, request.enrolmentKey, request.deviceType);
      const deviceId = await insertDevice(em, { ...request, displayName: "", groups: [], keyId });
      if (deviceId !== undefined) return await this.#admitNew(em, request, deviceId, keyId);
      const known = await em.findOne(
        DeviceEntity,
        { serialNumber: request.serialNumber },
        { lockMode: LockMode.PESSIMISTIC_WRITE },
      );
      if (known === null) throw retiredMeanwhile(request.serialNumber);
      if (known.enrolRequestId === request.requestId && known.enrolmentKeyId === keyId) {
        return await this.#admitRetry(em, request, known);
      }
      if (await this.#parts.credentials.hasLive(em, known.id)) throw duplicate(request.serialNumber);
      return await this.#admitAgain(em, request, known, keyId);
    });
  }

  async #transaction<T>(work: (em: EntityManager) => Promise<T>): Promise<T> {
    return await this.#parts.database.transact(work, { retry: { attempts: 5 } });
  }

  async #admitNew(
    em: EntityManager,
    request: EnrolmentRequest,
    id: string,
    keyId: string,
  ): Promise<Admission & Mark> {
    const token = await this.#parts.credentials.issue(em, id);
    await this.#record(em, "device.enrol", id, request, keyId);
    await this.#parts.keys.use(em, keyId);
    return { deviceId: id, token, replaced: [], change: undefined, ...firstMark };
  }

  async #admitRetry(
    em: EntityManager,
    request: EnrolmentRequest,
    device: DeviceRow,
  ): Promise<Admission & Mark> {
    if (device.deviceType !== request.deviceType || device.hardwareModel !== request.hardwareModel) {
      throw invalidArgument(
        "request_id",
        "came with another device type or hardware model before",
        "REQUEST_ID_REUSED",
      );
    }
    const replaced = await this.#parts.credentials.revokeAll(em, device.id, "its enrolment was retried");
    const token = await this.#parts.credentials.issue(em, device.id);
    await this.#record(em, "device.reissue_credential", device.id, request, device.enrolmentKeyId);
    const mark = await this.#parts.marks.current(em, device.id);
    return { deviceId: device.id, token, replaced, change: "credentials_revoked", ...mark };
  }

  async #admitAgain(
    em: EntityManager,
    request: EnrolmentRequest,
    device: DeviceRow,
    keyId: string,
  ): Promise<Admission & Mark> {
    for (const observer of this.#parts.identity) await observer.boardReplaced(em, device.id);
    // The key counts devices, and this one it has counted already.
    const counted = device.enrolmentKeyId === keyId;
    device.deviceType = request.deviceType;
    device.hardwareModel = request.hardwareModel;
    device.product = request.product;
    device.boardSince = this.#parts.clock.now();
    device.enrolmentKeyId = keyId;
    device.enrolRequestId = request.requestId;
    // What an operator noted stays unless the device says otherwise.
    device.metadata = { ...device.metadata, ...request.metadata };
    // What the client of the board before could do says nothing of this one.
    device.reported = { firmwareVersion: request.firmwareVersion };
    await em.flush();
    const { heardBefore, ...mark } = await this.#parts.marks.begin(em, device.id);
    await forgetState(em, {
      deviceId: device.id,
      firmwareVersion: request.firmwareVersion,
      epoch: mark.epoch,
      heardBefore,
    });
    const replaced = await this.#parts.credentials.revokeAll(em, device.id, "it enrolled again");
    const token = await this.#parts.credentials.issue(em, device.id);
    await this.#record(em, "device.enrol_again", device.id, request, keyId);
    if (!counted) await this.#parts.keys.use(em, keyId);
    return { deviceId: device.id, token, replaced, change: "updated", ...mark };
  }

  async #record(
    em: EntityManager,
    action: string,
    deviceId: string,
    request: EnrolmentRequest,
    keyId: string | null | undefined,
  ): Promise<void> {
    await this.#parts.audit.record(em, {
      actor: `device:${deviceId}`,
      action,
      resourceType: "device",
      resourceId: deviceId,
      details: {
        serial_number: request.serialNumber,
        device_type: request.deviceType,
        hardware_model: request.hardwareModel,
        enrolment_key_id: keyId ?? "",
      },
    });
  }

  #finish<T extends Admission>({ replaced, change, ...admitted }: T): Omit<T, "replaced" | "change"> {
    this.#parts.credentials.forget(replaced);
    if (change !== undefined) this.#parts.changes.publish({ deviceId: admitted.deviceId, kind: change });
    return admitted;
  }
}

/** Of a device that was never here. */
const firstMark: Mark = { epoch: 1, durableSequence: 0 };

/**
 * A crowd that enrols takes half of the ORM's connections; more would not be faster, for its transactions wait for each
 * other at the count of their key. Two thousand are served within the half minute that a device waits for its answer.
 */
const enrolmentTurns = { atOnce: 3, maxWaiting: 2_000, what: "enrolments", retryAfterMs: 5_000 };

interface Admission extends AdmittedDevice {
  /** Hashes of the credentials that no longer work. */
  readonly replaced: readonly Uint8Array[];
  /** What to announce; nothing of a new device, which nobody remembers yet. */
  readonly change: DeviceChange["kind"] | undefined;
}

interface NewDevice {
  readonly product: string;
  readonly serialNumber: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly displayName: string;
  readonly groups: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly requestId: string | null;
  readonly firmwareVersion: string | undefined;
  readonly keyId: string | null;
}

/**
 * Inserts a device and returns its id, or undefined if the serial number is in service. Two at the same time: the second
 * waits for the first one's transaction.
 */
async function insertDevice(em: EntityManager, device: NewDevice): Promise<string | undefined> {
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
    device.requestId,
    JSON.stringify(device.firmwareVersion === undefined ? {} : { firmwareVersion: device.firmwareVersion }),
  ]);
  return row?.id;
}

const insertSql = sql`
  INSERT INTO devices (id, serial_number, device_type, hardware_model, product, display_name, groups, metadata,
                       enrolment_key_id, enrol_request_id, reported)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
  ON CONFLICT (serial_number) WHERE NOT is_deleted DO NOTHING
  RETURNING id`;

function requireNames({
  serialNumber,
  deviceType,
  hardwareModel,
}: Pick<NewDevice, "serialNumber" | "deviceType" | "hardwareModel">): void {
  const fault = serialNumberFault(serialNumber);
  if (fault !== undefined) throw invalidArgument("serial_number", fault);
  requireTargetNames({ device_type: deviceType, hardware_model: hardwareModel });
}

/** Devices call their versions what they like; the database keeps neither of these characters. */
function requireStorable(version: string): void {
  if (version.includes("\0") || !version.isWellFormed()) {
    throw invalidArgument(
      "firmware_version",
      "must be well-formed text without the character NUL",
      "INVALID_VERSION",
    );
  }
}

function duplicate(serialNumber: string): OtaError {
  return new OtaError(
    "already_exists",
    "DUPLICATE",
    `a device with the serial number ${serialNumber} is enrolled; an operator can reset its credential`,
    { metadata: { serial_number: serialNumber } },
  );
}

function retiredMeanwhile(serialNumber: string): OtaError {
  return new OtaError(
    "unavailable",
    "DATABASE_UNAVAILABLE",
    `the device ${serialNumber} was retired at this moment; try again`,
    { retryAfterMs: 1_000 },
  );
}
