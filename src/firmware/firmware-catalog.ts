import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../access/audit-log.ts";
import type { Actor, CreateCause } from "../call/cause.ts";
import type { ListPosition } from "../call/list-page.ts";
import { notFound, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { settledContent } from "../infra/database/content-lock.ts";
import type { Database } from "../infra/database/database.ts";
import type { IdempotencyKeys } from "../infra/database/idempotency-keys.ts";
import { requestDigest } from "../infra/database/request-digest.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { createManifest } from "../manifest/manifest.ts";
import { assertNotDamaged } from "./damaged-firmware.ts";
import type {
  Firmware,
  FirmwareChange,
  FirmwareFields,
  FirmwareFilter,
  FirmwareOutcome,
  NewSignature,
} from "./firmware.ts";
import { firmwareEdit } from "./firmware-edit.ts";
import { requireEtag } from "./firmware-etag.ts";
import { firmwareOf, firmwareWhere, lockFirmware, withDeleted } from "./firmware-rows.ts";
import { assertChange, assertFields, immutable } from "./firmware-rules.ts";
import { FirmwareUpdateEntity, type FirmwareUpdateRow } from "./firmware-update.entity.ts";
import { assertNotRecalled } from "./recalls.ts";
import type { SignOff } from "./sign-off.ts";
import type { StoredContents } from "./stored-contents.ts";
import { type VersionClaims, versionClaimFault } from "./version-claims.ts";

/** Whether a firmware may be taken out of the catalogue: answered by whoever deploys it. */
export interface FirmwareInUse {
  /** The id of a rollout that is not over and has this firmware, read in the caller's transaction. */
  rolloutUsing(em: EntityManager, firmwareId: string): Promise<string | undefined>;
}

/** Parts of a {@link FirmwareCatalog}. */
export interface FirmwareCatalogParts {
  readonly database: Database;
  readonly idempotency: IdempotencyKeys;
  readonly audit: AuditLog;
  readonly contents: Pick<StoredContents, "has">;
  readonly signOff: SignOff;
  readonly inUse: FirmwareInUse;
  readonly clock: Clock;
}

/**
 * The catalogue of firmware. DRAFT becomes UPLOADED when the declared content is in the store, and RELEASED when enough
 * registered keys have signed; from then on what a signature covers never changes. Every change locks the row, so that
 * two of them cannot cross, and is written to the audit log in the same transaction.
 */
export class FirmwareCatalog {
  readonly #database: Database;
  readonly #idempotency: IdempotencyKeys;
  readonly #audit: AuditLog;
  readonly #contents: Pick<StoredContents, "has">;
  readonly #signOff: SignOff;
  readonly #inUse: FirmwareInUse;
  readonly #clock: Clock;

  constructor(parts: FirmwareCatalogParts) {
    this.#database = parts.database;
    this.#idempotency = parts.idempotency;
    this.#audit = parts.audit;
    this.#contents = parts.contents;
    this.#signOff = parts.signOff;
    this.#inUse = parts.inUse;
    this.#clock = parts.clock;
  }

  /**
   * Creates a firmware: UPLOADED if its very content is in the store, else DRAFT. `INVALID_VERSION` unless the version is
   * canonical (build metadata is refused, see `isCanonicalVersion`); `DUPLICATE` if the product has that version, or another
   * of its firmware is reported under one of the texts that this one claims;
   * `INVALID_REQUEST` for an application without a component, or firmware with one.
   */
  async create(
    fields: FirmwareFields,
    creator: CreateCause & { readonly signal: AbortSignal },
  ): Promise<Firmware> {
    assertFields(fields);
    const state = (await this.#contents.has(fields, creator.signal)) ? "UPLOADED" : "DRAFT";
    let created: Firmware;
    try {
      created = await this.#database.transact(async (em) => {
        const insert = async (): Promise<string> => {
          const id = uuidv7();
          await em.insert(FirmwareUpdateEntity, {
            ...fields,
            deviceTypes: [...fields.deviceTypes],
            hardwareModels: [...fields.hardwareModels],
            reportedVersions: [...fields.reportedVersions],
            metadata: { ...fields.metadata },
            id,
            state,
            manifest: null,
            expiresAt: null,
            releasedAt: null,
            deletedAt: null,
            damagedAt: null,
          });
          const { product, version, sha256 } = fields;
          await this.#record(em, creator, "firmware.create", id, { product, version, sha256, state });
          return id;
        };
        const { resourceId } = await this.#idempotency.once(
          em,
          {
            caller: creator.actor,
            method: "ota.v1.FirmwareService/CreateFirmware",
            requestId: creator.requestId,
            requestDigest: requestDigest(fields),
          },
          insert,
        );
        return this.#load(em, resourceId);
      });
    } catch (error) {
      throw await versionClaimFault(this.#database.em(), error, fields);
    }
    return await this.#settled(created, creator.signal);
  }

  /** The firmware with that id, deleted or not. `NOT_FOUND` if there never was one. */
  get(id: string): Promise<Firmware> {
    return this.#load(this.#database.em(), id);
  }

  /** The firmware of a product in a version that is not deleted. */
  async find(product: string, version: string): Promise<Firmware | undefined> {
    const em = this.#database.em();
    const row = await em.findOne(FirmwareUpdateEntity, { product, version });
    return row === null ? undefined : (await firmwareOf(em, [row]))[0];
  }

  /** Up to `limit` firmware after the id `after`, newest first; ids are ordered by time (UUIDv7). */
  async list(filter: FirmwareFilter, page: ListPosition): Promise<Firmware[]> {
    const em = this.#database.em();
    const rows = await em.find(FirmwareUpdateEntity, firmwareWhere(filter, page.after), {
      orderBy: { id: "desc" },
      limit: page.limit,
      ...(filter.showDeleted ? withDeleted : {}),
    });
    return firmwareOf(em, rows);
  }

  /**
   * Changes what is given. `FIRMWARE_IMMUTABLE`, with the field in the metadata, for what a signature covers once the
   * firmware is released; before that such a change discards the signatures. A value that stays the same is no change.
   * `DUPLICATE` if another firmware of the product is, or is reported as, one of the reported versions. `ETAG_MISMATCH` if it changed
   * since the caller read it.
   */
  async update(id: string, change: FirmwareChange, caller: Actor): Promise<Firmware> {
    assertChange(change);
    let claims: VersionClaims | undefined;
    const changed = this.#change(id, async (em, row) => {
      requireEtag(row, change.etag);
      const { covered, values, details } = firmwareEdit(row, change);
      if (covered !== undefined && row.state === "RELEASED") throw immutable(row, covered);
      const discarded = covered === undefined ? 0 : await this.#signOff.discard(em, row);
      const { product, version } = row;
      claims = { id, product, version, reportedVersions: change.reportedVersions ?? [] };
      Object.assign(row, values);
      await this.#record(em, caller, "firmware.update", id, {
        ...details,
        discarded_signatures: String(discarded),
      });
    });
    return await changed.catch(async (error: unknown) => {
      throw claims === undefined ? error : await versionClaimFault(this.#database.em(), error, claims);
    });
  }

  /** Takes a firmware out of the catalogue; again does nothing. `FIRMWARE_IN_USE` while a rollout that is not over has it. */
  async softDelete(id: string, caller: Actor): Promise<FirmwareOutcome> {
    const current = await this.get(id);
    if (current.deletedAt !== undefined) return { ...current, unchanged: true };
    const deleted = await this.#change(id, async (em, row) => {
      const rolloutId = await this.#inUse.rolloutUsing(em, id);
      if (rolloutId !== undefined) throw inUse(id, rolloutId);
      row.isDeleted = true;
      row.deletedAt = this.#clock.now();
      await this.#record(em, caller, "firmware.delete", id, { product: row.product, version: row.version });
    });
    return { ...deleted, unchanged: false };
  }

  /**
   * Records that the declared content is in the store, and right, for all firmware that have it; releases this one if it is
   * signed. `replaced`: it took the place of content that was not right. Harmless again.
   */
  contentStored(
    id: string,
    actor: string,
    { replaced }: { readonly replaced: boolean } = { replaced: false },
  ): Promise<Firmware> {
    return this.#change(id, async (em, row) => {
      const { sha256 } = row;
      const details = { sha256, size_bytes: String(row.sizeBytes) };
      if (replaced) await this.#record(em, { actor }, "firmware.repair", id, details);
      row.damagedAt = null;
      await sessionOf(em).run(soundSql, [sha256, id]);
      if (row.state !== "DRAFT") return;
      row.state = "UPLOADED";
      await this.#record(em, { actor }, "firmware.upload", id, details);
      await this.#releaseIfSigned(em, row, { actor });
    });
  }

  /** The manifest that others have signed, or one made from the record, always with the same bytes for the same record. */
  async manifest(id: string): Promise<Uint8Array> {
    const firmware = await this.getActive(id);
    return (
      firmware.manifest ??
      createManifest({
        ...firmware,
        created: firmware.createdAt,
        expires: undefined,
      })
    );
  }

  /** Adds a signature, and releases the firmware if that is enough; one that it has does nothing. Errors as `SignOff.add`. */
  async sign(id: string, signature: NewSignature, caller: Actor): Promise<FirmwareOutcome> {
    let changed = false;
    const signed = await this.#change(id, async (em, row) => {
      const added = await this.#signOff.add(em, row, signature);
      await em.flush();
      if (added) await this.#record(em, caller, "firmware.sign", id, { key_id: signature.keyId });
      const released = await this.#releaseIfSigned(em, row, caller);
      changed = added || released;
    });
    return { ...signed, unchanged: !changed };
  }

  /**
   * Releases a firmware without a deployment, so that devices can go back to it; one that is released does nothing. Errors as
   * {@link requireDeployable}.
   */
  async release(id: string, caller: Actor): Promise<FirmwareOutcome> {
    let changed = false;
    const released = await this.#change(id, async (em, row) => {
      if (row.state === "RELEASED") return;
      changed = await this.#releaseForDeployment(em, row, caller);
    });
    return { ...released, unchanged: !changed };
  }

  /**
   * The firmware, if it may be deployed now: `FIRMWARE_NOT_READY`, `FIRMWARE_NOT_SIGNED`, `FIRMWARE_EXPIRED`, `FIRMWARE_DAMAGED` or
   * `FIRMWARE_RECALLED` if not, and `NOT_FOUND` if it is deleted. Releases what was not released yet. Within the caller's transaction, if one is given,
   * the row stays locked until its end, so that the firmware cannot be deleted before the caller has noted its use.
   */
  requireDeployable(
    id: string,
    caller: Actor & { readonly em?: EntityManager | undefined },
  ): Promise<Firmware> {
    const check = async (em: EntityManager, row: FirmwareUpdateRow): Promise<void> => {
      await this.#releaseForDeployment(em, row, caller);
    };
    return this.#change(id, check, caller.em);
  }

  /** Checks within the caller's transaction that the stored content of a firmware is not known to be bad: else `FIRMWARE_DAMAGED`. */
  async assertSound(id: string, em: EntityManager): Promise<void> {
    assertNotDamaged(await em.findOneOrFail(FirmwareUpdateEntity, { id }, { ...withDeleted, refresh: true }));
  }

  /** Checks within the caller's transaction that a firmware has the signatures that it needs: `FIRMWARE_NOT_SIGNED` if not. */
  async assertSigned(id: string, em: EntityManager): Promise<void> {
    const row = await em.findOneOrFail(FirmwareUpdateEntity, { id }, withDeleted);
    await this.#signOff.assertSigned(em, row);
  }

  /** The firmware with that id that is not deleted, or `NOT_FOUND`. */
  async getActive(id: string): Promise<Firmware> {
    const firmware = await this.get(id);
    if (firmware.deletedAt !== undefined) throw notFound("firmware", id);
    return firmware;
  }

  /** Content that nothing named before may have been removed while this firmware came to name it. From here on it stays. */
  async #settled(created: Firmware, signal: AbortSignal): Promise<Firmware> {
    await settledContent(this.#database.pool, created.sha256);
    if (created.state !== "UPLOADED" || (await this.#contents.has(created, signal))) return created;
    return await this.#change(created.id, async (_em, row) => {
      if (row.state === "UPLOADED") row.state = "DRAFT";
    });
  }

  async #load(em: EntityManager, id: string): Promise<Firmware> {
    const row = await em.findOne(FirmwareUpdateEntity, { id }, withDeleted);
    const [firmware] = row === null ? [] : await firmwareOf(em, [row]);
    if (firmware === undefined) throw notFound("firmware", id);
    return firmware;
  }

  #change(
    id: string,
    work: (em: EntityManager, row: FirmwareUpdateRow) => Promise<void>,
    within?: EntityManager,
  ): Promise<Firmware> {
    const change = async (em: EntityManager): Promise<Firmware> => {
      const row = await lockFirmware(em, id);
      await work(em, row);
      await em.flush();
      return this.#load(em, id);
    };
    return within === undefined ? this.#database.transact(change) : within.transactional(change);
  }

  async #releaseIfSigned(em: EntityManager, row: FirmwareUpdateRow, caller: Actor): Promise<boolean> {
    const released = await this.#signOff.releaseIfSigned(em, row);
    if (released) await this.#recordRelease(em, row, caller);
    return released;
  }

  async #releaseForDeployment(em: EntityManager, row: FirmwareUpdateRow, caller: Actor): Promise<boolean> {
    await assertNotRecalled(sessionOf(em), row);
    const released = await this.#signOff.releaseForDeployment(em, row);
    if (released) await this.#recordRelease(em, row, caller);
    return released;
  }

  #recordRelease(em: EntityManager, row: FirmwareUpdateRow, caller: Actor): Promise<void> {
    const signed = String(row.manifest !== null);
    return this.#record(em, caller, "firmware.release", row.id, { version: row.version, signed });
  }

  async #record(
    em: EntityManager,
    { actor }: Actor,
    action: string,
    resourceId: string,
    details: Record<string, string>,
  ): Promise<void> {
    await this.#audit.record(em, {
      actor,
      action,
      resourceType: "firmware",
      resourceId,
      reason: "",
      details,
    });
  }
}

/** Content is kept once for all who have it. */
const soundSql = sql`
  UPDATE firmware_updates SET damaged_at = NULL WHERE sha256 = $1 AND id <> $2 AND damaged_at IS NOT NULL`;

function inUse(firmwareId: string, rolloutId: string): OtaError {
  return new OtaError(
    "failed_precondition",
    "FIRMWARE_IN_USE",
    `firmware ${firmwareId} is part of rollout ${rolloutId}, which is not over`,
    { metadata: { firmware_id: firmwareId, rollout_id: rolloutId } },
  );
}
