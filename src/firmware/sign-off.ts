import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import { OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { type Manifest, parseManifest } from "../manifest/manifest.ts";
import { algorithmOf, verifySignature } from "../manifest/signature.ts";
import type { NewSignature } from "./firmware.ts";
import { FirmwareSignatureEntity, type FirmwareSignatureRow } from "./firmware-signature.entity.ts";
import type { FirmwareUpdateRow } from "./firmware-update.entity.ts";
import { assertManifestMatches } from "./manifest-match.ts";

/** What a firmware needs before it may be deployed. */
export interface ReleasePolicy {
  /** Whether firmware without valid signatures is refused. */
  readonly requireSignature: boolean;
  /** How many different registered keys must have signed: at least 1. */
  readonly signatureThreshold: number;
}

/** A public key that an operator registered. */
export interface RegisteredKey {
  readonly publicKeyPem: string;
  readonly revoked: boolean;
}

/** The registered signing keys, by id (RFC 7638 thumbprint). */
export interface SigningKeyDirectory {
  /**
   * The key as it is registered at this moment: an answer from before a revocation would let a stolen key sign. Read it
   * with the caller's entity manager, whose transaction holds a connection already: waiting for a second one while many
   * hold their first would stop them all.
   */
  find(keyId: string, em: EntityManager): Promise<RegisteredKey | undefined>;
}

/** Decides who has signed a firmware and when that is enough. Works on rows that the caller's transaction has locked. */
export class SignOff {
  readonly #keys: SigningKeyDirectory;
  readonly #policy: ReleasePolicy;
  readonly #clock: Clock;

  constructor(keys: SigningKeyDirectory, policy: ReleasePolicy, clock: Clock) {
    this.#keys = keys;
    this.#policy = policy;
    this.#clock = clock;
  }

  /**
   * Adds a signature. In this order, so that nothing unsigned is ever read: the key is registered and not revoked, the
   * signature is right for these exact bytes, the manifest can be read, agrees with the record and has not expired, and
   * the signatures of other active keys cover the same bytes. A key that signed the same bytes before changes nothing;
   * until the release, a key that is the only active one may sign other bytes instead, say to correct a date. Returns whether
   * the signature is a new one.
   */
  async add(
    em: EntityManager,
    row: FirmwareUpdateRow,
    { manifest: bytes, keyId, signature }: NewSignature,
  ): Promise<boolean> {
    const key = await this.#activeKey(em, keyId);
    if (!verifySignature({ publicKeyPem: key.publicKeyPem, bytes, signature })) throw signatureInvalid(keyId);
    const manifest = parseManifest(bytes);
    assertManifestMatches(manifest, row);
    this.#assertNotExpired(row.id, manifest.expires);
    const stored = await em.find(FirmwareSignatureEntity, { firmwareId: row.id });
    if (row.manifest !== null && Buffer.compare(row.manifest, bytes) !== 0) {
      const others = stored.filter((other) => other.keyId !== keyId);
      if (row.state === "RELEASED" || (await this.#votes(em, row, others)) > 0) throw otherManifest();
      await this.discard(em, row);
      stored.length = 0;
    }
    row.manifest = Buffer.from(bytes);
    row.expiresAt = manifest.expires ?? null;
    if (stored.some((other) => other.keyId === keyId)) return false;
    em.create(FirmwareSignatureEntity, {
      id: uuidv7(),
      firmwareId: row.id,
      keyId,
      algorithm: algorithmOf(key.publicKeyPem),
      signature: Buffer.from(signature),
    });
    return true;
  }

  /** Forgets the signatures, because what they cover changes. */
  async discard(em: EntityManager, row: FirmwareUpdateRow): Promise<number> {
    row.manifest = null;
    row.expiresAt = null;
    return em.nativeDelete(FirmwareSignatureEntity, { firmwareId: row.id });
  }

  /** Releases a firmware whose content is there if its signatures suffice by now. Returns whether it did. */
  async releaseIfSigned(em: EntityManager, row: FirmwareUpdateRow): Promise<boolean> {
    if (row.state !== "UPLOADED" || row.manifest === null) return false;
    if (row.expiresAt !== null && row.expiresAt <= this.#clock.now()) return false;
    const stored = await em.find(FirmwareSignatureEntity, { firmwareId: row.id });
    if ((await this.#votes(em, row, stored)) < this.#policy.signatureThreshold) return false;
    this.#release(row);
    return true;
  }

  /**
   * Checks everything again at the moment of deployment: content, expiry, and every signature under the key as it is
   * registered now, over a manifest that still agrees with the record, so that neither a revoked key nor an edited
   * row gets through. Releases what was not released yet. Returns whether it did.
   */
  async releaseForDeployment(em: EntityManager, row: FirmwareUpdateRow): Promise<boolean> {
    if (row.state === "DRAFT") {
      throw new OtaError(
        "failed_precondition",
        "FIRMWARE_NOT_READY",
        `firmware ${row.id} has no verified content yet`,
        {
          metadata: { firmware_id: row.id },
        },
      );
    }
    this.#assertNotExpired(row.id, row.expiresAt ?? undefined);
    if (this.#policy.requireSignature) {
      const stored = await em.find(FirmwareSignatureEntity, { firmwareId: row.id });
      const votes = await this.#votes(em, row, stored);
      if (votes < this.#policy.signatureThreshold)
        throw notSigned(row.id, votes, this.#policy.signatureThreshold);
      if (row.manifest !== null) this.#assertManifest(row, parseManifest(row.manifest));
    }
    if (row.state === "RELEASED") return false;
    this.#release(row);
    return true;
  }

  #assertManifest(row: FirmwareUpdateRow, manifest: Manifest): void {
    assertManifestMatches(manifest, row);
    this.#assertNotExpired(row.id, manifest.expires);
  }

  /** How many active keys have a valid signature; the database holds one row per key. */
  async #votes(
    em: EntityManager,
    row: FirmwareUpdateRow,
    stored: readonly FirmwareSignatureRow[],
  ): Promise<number> {
    if (row.manifest === null) return 0;
    let votes = 0;
    for (const { keyId, signature } of stored) {
      const key = await this.#keys.find(keyId, em);
      if (key === undefined || key.revoked) continue;
      if (verifySignature({ publicKeyPem: key.publicKeyPem, bytes: row.manifest, signature })) votes++;
    }
    return votes;
  }

  async #activeKey(em: EntityManager, keyId: string): Promise<RegisteredKey> {
    const key = await this.#keys.find(keyId, em);
    if (key === undefined) {
      throw new OtaError(
        "failed_precondition",
        "SIGNING_KEY_UNKNOWN",
        `no signing key ${keyId} is registered`,
        {
          metadata: { key_id: keyId },
        },
      );
    }
    if (key.revoked) {
      throw new OtaError(
        "failed_precondition",
        "SIGNING_KEY_REVOKED",
        `the signing key ${keyId} was revoked`,
        {
          metadata: { key_id: keyId },
        },
      );
    }
    return key;
  }

  #release(row: FirmwareUpdateRow): void {
    row.state = "RELEASED";
    row.releasedAt = this.#clock.now();
  }

  #assertNotExpired(firmwareId: string, expires: Date | undefined): void {
    if (expires === undefined || expires > this.#clock.now()) return;
    throw new OtaError(
      "failed_precondition",
      "FIRMWARE_EXPIRED",
      `the manifest expired at ${expires.toISOString()}`,
      {
        metadata: { firmware_id: firmwareId, expire_time: expires.toISOString() },
      },
    );
  }
}

function signatureInvalid(keyId: string): OtaError {
  const description = `does not verify over the manifest's exact bytes under the key ${keyId}`;
  return new OtaError("invalid_argument", "SIGNATURE_INVALID", `signature: ${description}`, {
    fields: [{ field: "signature", description }],
    metadata: { key_id: keyId },
  });
}

function otherManifest(): OtaError {
  const description = "must be, byte for byte, the one that other keys have signed for this firmware";
  return new OtaError("invalid_argument", "INVALID_MANIFEST", `manifest: ${description}`, {
    fields: [{ field: "manifest", description }],
    metadata: { field: "manifest" },
  });
}

function notSigned(firmwareId: string, signatures: number, threshold: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "FIRMWARE_NOT_SIGNED",
    `firmware ${firmwareId} has ${signatures} valid signatures of registered keys, ${threshold} are needed`,
    { metadata: { firmware_id: firmwareId, signatures: String(signatures), threshold: String(threshold) } },
  );
}
