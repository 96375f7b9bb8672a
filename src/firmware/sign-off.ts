import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import { OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { AttachmentDigest } from "../manifest/attachment.ts";
import { type Manifest, parseManifest } from "../manifest/manifest.ts";
import { algorithmOf, hasFixedSalt, verifySignature } from "../manifest/signature.ts";
import { assertNotDamaged } from "./damaged-firmware.ts";
import type { NewSignature } from "./firmware.ts";
import { FirmwareAttachmentEntity } from "./firmware-attachment.entity.ts";
import { FirmwareSignatureEntity, type FirmwareSignatureRow } from "./firmware-signature.entity.ts";
import type { FirmwareUpdateRow } from "./firmware-update.entity.ts";
import { assertManifestMatches } from "./manifest-match.ts";
import { type ReleasePolicy, readSignatureRule, type SignerKey } from "./signature-rule.ts";

/** A public key that an operator registered. */
export interface RegisteredKey extends SignerKey {
  readonly publicKeyPem: string;
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
   * Adds a signature. In this order, so that nothing unsigned is ever read: the key is registered, not revoked and not expired, the
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
    if (!hasFixedSalt({ publicKeyPem: key.publicKeyPem, bytes, signature })) throw saltInvalid(keyId);
    const manifest = parseManifest(bytes);
    assertManifestMatches(manifest, row, await attachmentsOf(em, row));
    this.#assertNotExpired(row.id, manifest.expires);
    const stored = await em.find(FirmwareSignatureEntity, { firmwareId: row.id });
    if (row.manifest !== null && Buffer.compare(row.manifest, bytes) !== 0) {
      const others = stored.filter((other) => other.keyId !== keyId);
      if (row.state === "RELEASED" || (await this.#hasVotes(em, row, others))) throw otherManifest();
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
    const rule = await readSignatureRule(em, this.#policy, row.product);
    if (rule.missing(row.product, await this.#signers(em, row, stored), this.#clock.now()) !== undefined)
      return false;
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
    assertNotDamaged(row);
    this.#assertNotExpired(row.id, row.expiresAt ?? undefined);
    if ((await this.assertSigned(em, row)) && row.manifest !== null)
      await this.#assertManifest(em, row, parseManifest(row.manifest));
    if (row.state === "RELEASED") return false;
    this.#release(row);
    return true;
  }

  /** Checks that the signatures suffice by now: `FIRMWARE_NOT_SIGNED` if not. Returns whether any are required. */
  async assertSigned(em: EntityManager, row: FirmwareUpdateRow): Promise<boolean> {
    const rule = await readSignatureRule(em, this.#policy, row.product);
    const stored = await em.find(FirmwareSignatureEntity, { firmwareId: row.id });
    const signers = await this.#signers(em, row, stored);
    const fault = rule.fault(row.product, signers, this.#clock.now());
    if (fault !== undefined) {
      const votes = signers.filter((key) => rule.voteOf(key, this.#clock.now()) !== undefined).length;
      throw notSigned(row.id, fault, { signatures: votes, threshold: rule.threshold });
    }
    return rule.isRequired(row.product);
  }

  async #assertManifest(em: EntityManager, row: FirmwareUpdateRow, manifest: Manifest): Promise<void> {
    assertManifestMatches(manifest, row, await attachmentsOf(em, row));
    this.#assertNotExpired(row.id, manifest.expires);
  }

  /** The keys, counting or not, whose signature is right; the database holds one row per key. */
  async #signers(
    em: EntityManager,
    row: FirmwareUpdateRow,
    stored: readonly FirmwareSignatureRow[],
  ): Promise<RegisteredKey[]> {
    if (row.manifest === null) return [];
    const signers: RegisteredKey[] = [];
    for (const { keyId, signature } of stored) {
      const key = await this.#keys.find(keyId, em);
      if (key === undefined) continue;
      const { publicKeyPem } = key;
      if (verifySignature({ publicKeyPem, bytes: row.manifest, signature })) signers.push(key);
    }
    return signers;
  }

  async #hasVotes(
    em: EntityManager,
    row: FirmwareUpdateRow,
    stored: readonly FirmwareSignatureRow[],
  ): Promise<boolean> {
    const rule = await readSignatureRule(em, this.#policy, row.product);
    const now = this.#clock.now();
    return (await this.#signers(em, row, stored)).some((key) => rule.voteOf(key, now) !== undefined);
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
    const { expiresAt } = key;
    if (expiresAt !== undefined && expiresAt <= this.#clock.now()) {
      throw new OtaError(
        "failed_precondition",
        "SIGNING_KEY_EXPIRED",
        `the signing key ${keyId} expired at ${expiresAt.toISOString()}`,
        { metadata: { key_id: keyId, expire_time: expiresAt.toISOString() } },
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

function attachmentsOf(em: EntityManager, { id }: FirmwareUpdateRow): Promise<readonly AttachmentDigest[]> {
  return em.find(FirmwareAttachmentEntity, { firmwareId: id });
}

function signatureInvalid(keyId: string): OtaError {
  return signatureFault(keyId, `does not verify over the manifest's exact bytes under the key ${keyId}`);
}

function saltInvalid(keyId: string): OtaError {
  const openssl = "-sigopt rsa_pss_saltlen:digest";
  return signatureFault(keyId, `must be RSA-PSS with a salt of 32 bytes (openssl: ${openssl})`);
}

function signatureFault(keyId: string, description: string): OtaError {
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

function notSigned(
  firmwareId: string,
  fault: string,
  { signatures, threshold }: { readonly signatures: number; readonly threshold: number },
): OtaError {
  return new OtaError(
    "failed_precondition",
    "FIRMWARE_NOT_SIGNED",
    `firmware ${firmwareId} is not signed as its product asks: ${fault}`,
    { metadata: { firmware_id: firmwareId, signatures: String(signatures), threshold: String(threshold) } },
  );
}
