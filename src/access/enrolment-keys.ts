import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { ListPosition } from "../call/list-page.ts";
import { notFound, OtaError } from "../errors.ts";
import { requestDigest } from "../infra/database/request-digest.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { EnrolmentKeyEntity, type EnrolmentKeyRow } from "./enrolment-key.entity.ts";
import { requireAllowedSerial, requireSerials, storeSerials } from "./enrolment-key-serials.ts";
import type { CredentialParts } from "./operator-tokens.ts";
import { hashSecret, newSecret, requireFuture } from "./secret.ts";

/** An enrolment key to create. */
export interface NewEnrolmentKey {
  /** Who asks, as the audit log names callers. */
  readonly actor: string;
  /** The caller's UUID of this try (AIP-155). */
  readonly requestId: string | undefined;
  readonly name: string;
  /** The most devices that it may enrol; 0 means no limit. */
  readonly maxUses: number;
  /** Only these device types; empty means all. */
  readonly deviceTypes: readonly string[];
  /** Only serial numbers that one of these patterns matches, or that are named here; neither means all. */
  readonly serialNumberPatterns: readonly string[];
  readonly serialNumbers: readonly string[];
  /** Whether who enrols with it is in quarantine until an operator approves it. */
  readonly requireApproval: boolean;
  /** Undefined means that it never expires. */
  readonly expiresAt: Date | undefined;
}

/** What matters of the key that a device showed. */
export type ShownKey = Pick<EnrolmentKeyRow, "id" | "requireApproval">;

/** The keys with which batches of devices enrol: creates, lists, revokes and uses them up. */
export class EnrolmentKeys {
  readonly #parts: Omit<CredentialParts, "memory">;

  constructor(parts: Omit<CredentialParts, "memory">) {
    this.#parts = parts;
  }

  /**
   * Creates a key and returns its secret, which is stored nowhere. A repeat with the same request id returns the same key
   * with a fresh secret, and the lost one stops working. Throws `REQUEST_ID_REUSED`, and `INVALID_REQUEST` for an expiry
   * in the past and for what can be no serial number.
   */
  async create(request: NewEnrolmentKey): Promise<{ key: EnrolmentKeyRow; secret: string }> {
    const { database, idempotency, audit, clock } = this.#parts;
    const { actor, name, maxUses, deviceTypes, serialNumberPatterns, requireApproval, expiresAt } = request;
    requireFuture(expiresAt, clock);
    requireSerials(request.serialNumbers, serialNumberPatterns);
    const serialNumbers = [...new Set(request.serialNumbers)];
    const secret = newSecret("enrolment");
    const requestKey = {
      caller: actor,
      method: "ota.v1.AccessService/CreateEnrolmentKey",
      requestId: request.requestId,
      requestDigest: requestDigest({
        name,
        maxUses,
        deviceTypes,
        // Only if it is said, so that a repeat is one across releases.
        requireApproval: requireApproval || undefined,
        serialNumberPatterns: serialNumberPatterns.length === 0 ? undefined : serialNumberPatterns,
        serialNumbers: serialNumbers.length === 0 ? undefined : serialNumbers,
        expiresAt,
      }),
    };
    const key = await database.transact(async (em) => {
      const outcome = await idempotency.once(em, requestKey, async () => {
        const id = uuidv7();
        await em.insert(EnrolmentKeyEntity, {
          id,
          name,
          secretHash: secret.hash,
          maxUses,
          deviceTypes: [...deviceTypes],
          serialNumberPatterns: [...serialNumberPatterns],
          serialNumberCount: serialNumbers.length,
          requireApproval,
          requestId: request.requestId ?? null,
          expiresAt: expiresAt ?? null,
        });
        await storeSerials(em, id, serialNumbers);
        return id;
      });
      const row = await em.findOneOrFail(EnrolmentKeyEntity, outcome.resourceId);
      if (outcome.repeated) row.secretHash = secret.hash;
      await audit.record(em, {
        actor,
        action: outcome.repeated ? "enrolment_key.reissue" : "enrolment_key.create",
        resourceType: "enrolment_key",
        resourceId: row.id,
        details: {
          name,
          max_uses: String(maxUses),
          device_types: deviceTypes.join(","),
          serial_number_patterns: serialNumberPatterns.join(","),
          serial_number_count: String(serialNumbers.length),
          require_approval: String(requireApproval),
        },
      });
      return row;
    });
    return { key, secret: secret.text };
  }

  /** Lists keys, newest first, revoked ones too. */
  async list({ limit, after }: ListPosition): Promise<EnrolmentKeyRow[]> {
    return await this.#parts.database
      .em()
      .find(EnrolmentKeyEntity, after === undefined ? {} : { id: { $lt: after } }, {
        orderBy: { id: "desc" },
        limit,
        disableIdentityMap: true,
      });
  }

  /** Revokes a key at once; devices that enrolled with it stay. Throws `NOT_FOUND`. */
  async revoke(request: { actor: string; id: string; reason: string }): Promise<EnrolmentKeyRow> {
    const { database, audit, clock } = this.#parts;
    const { actor, id, reason } = request;
    return await database.transact(async (em) => {
      const row = await em.findOne(EnrolmentKeyEntity, id, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (row === null) throw notFound("enrolment key", id);
      if (row.revokedAt !== null) return row;
      row.revokedAt = clock.now();
      await audit.record(em, {
        actor,
        action: "enrolment_key.revoke",
        resourceType: "enrolment_key",
        resourceId: id,
        reason,
        details: { name: row.name },
      });
      return row;
    });
  }

  /**
   * Finds the key that a device showed, if a device of this type and serial number may enrol with it. It takes no use and no lock. Throws
   * `ENROLMENT_KEY_INVALID` and `SERIAL_NUMBER_NOT_ALLOWED`.
   */
  async check(
    em: EntityManager,
    secret: string,
    { deviceType, serialNumber }: { readonly deviceType: string; readonly serialNumber: string },
  ): Promise<ShownKey> {
    const row = await em.findOne(EnrolmentKeyEntity, { secretHash: hashSecret(secret) });
    if (row === null) throw keyInvalid("the enrolment key is not one of this service");
    if (row.revokedAt !== null) throw keyInvalid("the enrolment key was revoked");
    if (row.expiresAt !== null && row.expiresAt <= this.#parts.clock.now()) {
      throw keyInvalid(`the enrolment key expired at ${row.expiresAt.toISOString()}`);
    }
    if (row.deviceTypes.length > 0 && !row.deviceTypes.includes(deviceType)) {
      throw keyInvalid(`the enrolment key is not for devices of type ${deviceType}`);
    }
    await requireAllowedSerial(em, row, serialNumber);
    return row;
  }

  /**
   * Takes one use of a key, in the transaction that enrols the device: the count and the device are stored both or not at
   * all. One statement decides, so parallel enrolments never exceed the limit. It locks the key until the commit: call it
   * last. Throws `ENROLMENT_KEY_EXHAUSTED`, or `ENROLMENT_KEY_INVALID` if it was revoked meanwhile.
   */
  async use(em: EntityManager, id: string): Promise<void> {
    if ((await sessionOf(em).run(takeUseSql, [id])) > 0) return;
    const row = await em.findOne(EnrolmentKeyEntity, id, { refresh: true });
    if (row === null || row.revokedAt !== null) throw keyInvalid("the enrolment key was revoked");
    throw new OtaError(
      "resource_exhausted",
      "ENROLMENT_KEY_EXHAUSTED",
      `the enrolment key has enrolled ${row.maxUses} devices and may enrol no more`,
      { metadata: { enrolment_key_id: id, max_uses: String(row.maxUses) } },
    );
  }
}

const takeUseSql = sql`
  UPDATE enrolment_keys SET use_count = use_count + 1, updated_at = now()
   WHERE id = $1 AND revoked_at IS NULL AND (max_uses = 0 OR use_count < max_uses)`;

function keyInvalid(message: string): OtaError {
  return new OtaError("permission_denied", "ENROLMENT_KEY_INVALID", message);
}
