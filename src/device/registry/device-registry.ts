import { isDeepStrictEqual } from "node:util";
import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { fromTo } from "../../access/audit-change.ts";
import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials } from "../../access/device-credentials.ts";
import type { ListPosition } from "../../call/list-page.ts";
import { illegalTransition, notFound } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { HeavyReader } from "../../infra/database/heavy-reads.ts";
import type { DeviceFilter } from "../filter/device-filter.ts";
import { DeviceEntity, type DeviceRow } from "../state/device.entity.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { isNewer } from "../state/device-snapshot.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import type { HeartbeatRecord } from "../state/heartbeat-record.ts";
import { readDeviceIn } from "../state/live-device-rows.ts";
import { forgetBoots } from "./clone-watch.ts";
import { type DeviceDetails, readDevice } from "./device-details.ts";
import { countDevices, type DeviceQuery, isWalk, type ListedDevice, listDevices } from "./device-list.ts";
import { intervalText } from "./expected-interval.ts";
import type { DeviceIdentityObserver } from "./identity-observer.ts";
import { requireTargetNames } from "./target-names.ts";

/** Whoever must act in the same transaction when a device is retired, for example to cancel its open update. */
export interface DeviceRetired {
  /** Must not commit. A failure undoes the retirement. */
  deviceRetired(em: EntityManager, device: { id: string; actor: string; reason: string }): Promise<void>;
}

/** Where readings wait that the database may not show yet. */
interface UnwrittenStates {
  unwritten(deviceId: string): HeartbeatRecord | undefined;
}

/** What {@link DeviceRegistry} is made of. */
export interface DeviceRegistryParts {
  readonly database: Pick<Database, "transact" | "pool" | "heavyReads">;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly states: UnwrittenStates;
  readonly retired: readonly DeviceRetired[];
  readonly identity: readonly DeviceIdentityObserver[];
  readonly clock: Clock;
  /** Decides who is online, where a filter asks. */
  readonly heartbeatIntervalMs: number;
  /** For how long a device may enrol again after a reset, in milliseconds. */
  readonly enrolAgainMs: number;
}

/** What an operator changes of a device; what is undefined stays as it is. */
export interface DeviceUpdate {
  readonly actor: string;
  readonly id: string;
  readonly deviceType?: string | undefined;
  readonly hardwareModel?: string | undefined;
  /** Empty: nobody says which it runs. */
  readonly product?: string | undefined;
  readonly displayName?: string | undefined;
  readonly groups?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly updatePin?: UpdatePin | undefined;
  /** How often a sign of life of it is expected, in milliseconds; 0 takes away what was said. */
  readonly expectedIntervalMs?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Why, for the audit log. */
  readonly reason?: string | undefined;
}

/** A device after an update. */
export interface UpdatedDevice extends DeviceDetails {
  /** Whether it was so before. */
  readonly unchanged: boolean;
}

/** A device after its retirement. */
export interface RetiredDevice extends DeviceDetails {
  /** Whether it was retired before. */
  readonly unchanged: boolean;
  readonly revokedCredentials: number;
}

/** What a reset of a device's credential did. */
export interface ResetCredential {
  readonly revokedCredentials: number;
  /** Until when the device may enrol again. */
  readonly enrolUntil: Date;
}

/** Whom a verb is about, who asks for it and why. */
export interface DeviceVerb {
  readonly actor: string;
  readonly id: string;
  readonly reason: string;
}

/** The inventory of devices. */
export class DeviceRegistry {
  readonly #parts: DeviceRegistryParts;

  constructor(parts: DeviceRegistryParts) {
    this.#parts = parts;
  }

  /** Returns a device, retired or not. Throws `NOT_FOUND`. */
  async get(id: string): Promise<DeviceDetails> {
    const device = await readDevice(this.#parts.database.pool, id);
    if (device === undefined) throw notFound("device", id);
    return this.#withNewest(device);
  }

  /**
   * Lists devices in the order asked for; `after` is the place of the last device of the page before. Whoever asks for more than
   * a walk through an index waits with those whose reads are long.
   */
  async list(query: DeviceQuery, position: ListPosition, reader: HeavyReader): Promise<ListedDevice[]> {
    const { pool, heavyReads } = this.#parts.database;
    const session = isWalk(query) ? pool : heavyReads.for(reader);
    const listed = await listDevices(session, query, position, this.#moment());
    return listed.map(({ device, place }) => ({ device: this.#withNewest(device), place }));
  }

  /** Counts the devices in service that match a filter. */
  async count(filter: DeviceFilter, reader: HeavyReader): Promise<number> {
    const session = this.#parts.database.heavyReads.for(reader);
    return await countDevices(session, filter, this.#moment());
  }

  /**
   * Changes what an operator may change. Where type, model or product are corrected, the open update is asked again whether it is
   * meant for such a device. Throws `NOT_FOUND`, and `ILLEGAL_TRANSITION` for a retired device.
   */
  async update(update: DeviceUpdate): Promise<UpdatedDevice> {
    const { actor, id } = update;
    const { audit, changes } = this.#parts;
    requireTargetNames({ device_type: update.deviceType, hardware_model: update.hardwareModel });
    const isChanged = await this.#transaction(async (em) => {
      const device = await findInService(em, id, "update");
      const details = { ...(await this.#correct(em, device, update)), ...edit(device, update) };
      if (Object.keys(details).length === 0) return false;
      await em.flush();
      await audit.record(em, {
        actor,
        action: "device.update",
        resourceType: "device",
        resourceId: id,
        ...(update.reason === undefined ? {} : { reason: update.reason }),
        details,
      });
      return true;
    });
    if (isChanged) changes.publish({ deviceId: id, kind: "updated" });
    return { ...(await this.get(id)), unchanged: !isChanged };
  }

  /** Says what the device is; returns what changed, for the audit log. */
  async #correct(
    em: EntityManager,
    device: DeviceRow,
    update: DeviceUpdate,
  ): Promise<Record<string, string>> {
    const details: Record<string, string> = {};
    const { deviceType = device.deviceType, hardwareModel = device.hardwareModel } = update;
    const { product = device.product } = update;
    if (deviceType !== device.deviceType)
      Object.assign(details, fromTo("device_type", device.deviceType, deviceType));
    if (hardwareModel !== device.hardwareModel)
      Object.assign(details, fromTo("hardware_model", device.hardwareModel, hardwareModel));
    if (product !== device.product) Object.assign(details, fromTo("product", device.product, product));
    if (Object.keys(details).length === 0) return details;
    const before = await readDeviceIn(em, device.id);
    device.deviceType = deviceType;
    device.hardwareModel = hardwareModel;
    device.product = product;
    await em.flush();
    const after = await readDeviceIn(em, device.id);
    if (before === undefined || after === undefined) throw notFound("device", device.id);
    for (const observer of this.#parts.identity) await observer.identityCorrected(em, before, after);
    return details;
  }

  /**
   * Takes a device out of service: its credentials stop working, its connections end and its open update is cancelled. A
   * retired device stays as it is. Throws `NOT_FOUND`.
   */
  async retire({ actor, id, reason }: DeviceVerb): Promise<RetiredDevice> {
    const { audit, changes, clock, credentials, retired } = this.#parts;
    const revoked = await this.#transaction(async (em) => {
      const device = await lock(em, id);
      if (device.isDeleted) return undefined;
      device.isDeleted = true;
      device.deletedAt = clock.now();
      // Leave to enrol again was given for what was in service.
      device.enrolUntil = null;
      await em.flush();
      const hashes = await credentials.revokeAll(em, id, "the device was retired");
      for (const observer of retired) await observer.deviceRetired(em, { id, actor, reason });
      await audit.record(em, {
        actor,
        action: "device.retire",
        resourceType: "device",
        resourceId: id,
        reason,
        details: { serial_number: device.serialNumber },
      });
      return hashes;
    });
    if (revoked !== undefined) {
      credentials.forget(revoked);
      changes.publish({ deviceId: id, kind: "retired" });
    }
    return {
      ...(await this.get(id)),
      unchanged: revoked === undefined,
      revokedCredentials: revoked?.length ?? 0,
    };
  }

  /**
   * Revokes a device's credentials, so that it must enrol again, and lets it do so once within a while. Throws `NOT_FOUND`, and
   * `ILLEGAL_TRANSITION` for a retired device.
   */
  async resetCredential({ actor, id, reason }: DeviceVerb): Promise<ResetCredential> {
    const { audit, changes, clock, credentials, enrolAgainMs } = this.#parts;
    const now = clock.now();
    const enrolUntil = new Date(now.getTime() + enrolAgainMs);
    const revoked = await this.#transaction(async (em) => {
      const device = await findInService(em, id, "reset");
      // A retry of the old enrolment is no longer one: whoever comes now enrols again.
      device.enrolRequestId = null;
      device.enrolUntil = enrolUntil;
      device.certificatesSince = now;
      device.certificateSha256 = null;
      // Both of two machines are out: who comes now is one.
      device.cloneSuspectedAt = null;
      await em.flush();
      await forgetBoots(em, id);
      const hashes = await credentials.revokeAll(em, id, "an operator reset the credential");
      await audit.record(em, {
        actor,
        action: "device.reset_credential",
        resourceType: "device",
        resourceId: id,
        reason,
        details: { revoked_count: String(hashes.length), enrol_until: enrolUntil.toISOString() },
      });
      return hashes;
    });
    credentials.forget(revoked);
    changes.publish({ deviceId: id, kind: "credentials_revoked" });
    return { revokedCredentials: revoked.length, enrolUntil };
  }

  /** Again where it meets a writer that came from the other side: an offer locks the rollout first, and then its devices. */
  async #transaction<T>(work: (em: EntityManager) => Promise<T>): Promise<T> {
    return await this.#parts.database.transact(work, { retry: { attempts: 5 } });
  }

  #moment(): { nowMs: number; heartbeatIntervalMs: number } {
    const { clock, heartbeatIntervalMs } = this.#parts;
    return { nowMs: clock.now().getTime(), heartbeatIntervalMs };
  }

  /** What this replica heard in the last second may not be in the database yet. */
  #withNewest(device: DeviceDetails): DeviceDetails {
    const unwritten = this.#parts.states.unwritten(device.id);
    if (unwritten === undefined) return device;
    const { lastHeartbeat, securityCounter } = device;
    if (lastHeartbeat !== undefined && !isNewer(unwritten, lastHeartbeat)) return device;
    return {
      ...device,
      lastHeartbeat: unwritten,
      securityCounter: Math.max(securityCounter, unwritten.securityCounter),
    };
  }
}

async function lock(em: EntityManager, id: string): Promise<DeviceRow> {
  const device = await em.findOne(DeviceEntity, id, {
    filters: { notDeleted: false },
    lockMode: LockMode.PESSIMISTIC_WRITE,
  });
  if (device === null) throw notFound("device", id);
  return device;
}

async function findInService(em: EntityManager, id: string, verb: string): Promise<DeviceRow> {
  const device = await lock(em, id);
  if (device.isDeleted) throw illegalTransition("device", verb, "retired", []);
  return device;
}

/** Changes what is said of a device's inventory and differs; returns what that is, for the audit log. */
function edit(
  device: DeviceRow,
  { displayName, groups, tags, updatePin, expectedIntervalMs, metadata }: DeviceUpdate,
): Record<string, string> {
  const details: Record<string, string> = {};
  if (displayName !== undefined && displayName !== device.displayName) {
    Object.assign(details, fromTo("display_name", device.displayName, displayName));
    device.displayName = displayName;
  }
  if (groups !== undefined && !isDeepStrictEqual(groups, device.groups)) {
    Object.assign(details, fromTo("groups", device.groups, groups));
    device.groups = [...groups];
  }
  if (tags !== undefined && !isDeepStrictEqual(tags, device.tags)) {
    Object.assign(details, fromTo("tags", device.tags, tags));
    device.tags = [...tags];
  }
  if (updatePin !== undefined && updatePin !== device.updatePin) {
    Object.assign(details, fromTo("update_pin", device.updatePin, updatePin));
    device.updatePin = updatePin;
  }
  const interval = expectedIntervalMs === 0 ? null : expectedIntervalMs;
  if (interval !== undefined && interval !== device.expectedIntervalMs) {
    Object.assign(
      details,
      fromTo("expected_interval", intervalText(device.expectedIntervalMs), intervalText(interval)),
    );
    device.expectedIntervalMs = interval;
  }
  if (metadata !== undefined && !isDeepStrictEqual({ ...metadata }, { ...device.metadata })) {
    Object.assign(details, fromTo("metadata", device.metadata, metadata));
    device.metadata = { ...metadata };
  }
  return details;
}
