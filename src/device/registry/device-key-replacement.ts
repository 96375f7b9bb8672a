import type { EntityManager } from "@mikro-orm/postgresql";
import { fromTo } from "../../access/audit-change.ts";
import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials } from "../../access/device-credentials.ts";
import { credentialRevoked } from "../../call/bearer.ts";
import { actorOf, callingDevice, type Identity } from "../../call/identity.ts";
import { invalidArgument } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import { requireKeyProof } from "../keys/key-proof.ts";
import { type PublicKey, readPublicKey, storedPublicKey } from "../keys/public-key.ts";
import type { SignedTokenRules } from "../keys/signed-token.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { lockCaller } from "./caller-lock.ts";

/** A device's wish for another key. */
export interface KeyReplacementRequest {
  /** Who asks. */
  readonly identity: Identity;
  readonly requestId: string;
  /** In PEM or as a JWK. */
  readonly publicKey: string;
  /** Signed by the new key. */
  readonly keyProof: string;
  /** Signed by the one so far; empty if the device has none. */
  readonly consent: string;
}

/** What {@link DeviceKeyReplacement} is made of. */
export interface DeviceKeyReplacementParts {
  readonly database: Pick<Database, "transact">;
  readonly idempotency: IdempotencyKeys;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly clock: Clock;
  readonly rules: SignedTokenRules;
}

/** How a device in service comes to a key of its own, or to another one. */
export class DeviceKeyReplacement {
  readonly #parts: DeviceKeyReplacementParts;

  constructor(parts: DeviceKeyReplacementParts) {
    this.#parts = parts;
  }

  /**
   * Lets a key be the calling device's only credential, and returns its thumbprint. A repeat, or somebody's replay, changes nothing
   * for a day, which is longer than what was signed holds. Throws `KEY_PROOF_INVALID`, `TOKEN_TIME_WRONG`, `CREDENTIAL_REVOKED` for a device that
   * was reset meanwhile, `DEVICE_BLOCKED` and `REQUEST_ID_REUSED`.
   */
  async replace(request: KeyReplacementRequest): Promise<string> {
    const { database, credentials, changes } = this.#parts;
    const deviceId = callingDevice(request.identity, "have keys of their own");
    const key = readPublicKey(request.publicKey);
    const claim = { key, subject: deviceId, requestId: request.requestId };
    await this.#require({ ...claim, signer: key, proof: request.keyProof, field: "key_proof" });
    const revoked = await database.transact((em) => this.#replace(em, request, { deviceId, key }), {
      retry: { attempts: 5 },
    });
    if (revoked !== undefined) {
      credentials.forget(revoked);
      changes.publish({ deviceId, kind: "credentials_revoked" });
    }
    return key.thumbprint;
  }

  /** The hashes of what counts no more; undefined if it was done before. */
  async #replace(
    em: EntityManager,
    { identity, requestId, consent }: KeyReplacementRequest,
    { deviceId, key }: { readonly deviceId: string; readonly key: PublicKey },
  ): Promise<readonly Uint8Array[] | undefined> {
    const { idempotency, credentials, audit } = this.#parts;
    const actor = actorOf(identity);
    await lockCaller(em, deviceId);
    const method = "ota.v1.DeviceService/ReplaceDeviceKey";
    const digest = requestDigest({ publicKey: key.thumbprint });
    let revoked: readonly Uint8Array[] = [];
    const { repeated } = await idempotency.once(
      em,
      { caller: actor, method, requestId, requestDigest: digest },
      async () => {
        const before = await this.#requireLeave(em, identity, { deviceId, key, requestId, consent });
        revoked = await credentials.revokeAll(em, deviceId, "the device has another key");
        await credentials.setKey(em, deviceId, key.spki);
        await audit.record(em, {
          actor,
          action: "device.replace_key",
          resourceType: "device",
          resourceId: deviceId,
          details: fromTo("thumbprint", before?.thumbprint, key.thumbprint),
        });
        return deviceId;
      },
    );
    return repeated ? undefined : revoked;
  }

  /** The key that the device has so far, which must have signed its consent; a device without one must have a token that still works. */
  async #requireLeave(
    em: EntityManager,
    identity: Identity,
    { deviceId, key, requestId, consent }: Leave,
  ): Promise<PublicKey | undefined> {
    const { credentials } = this.#parts;
    const stored = await credentials.keyOf(em, deviceId);
    if (stored !== undefined) {
      if (consent === "") throw invalidArgument("consent", "is required of a device with a key");
      const signer = storedPublicKey(stored);
      await this.#require({ key, subject: deviceId, requestId, signer, proof: consent, field: "consent" });
      return signer;
    }
    const credentialId = identity.kind === "device" ? identity.credentialId : "";
    if (!(await credentials.isLive(em, deviceId, credentialId))) throw credentialRevoked();
    return undefined;
  }

  async #require(claim: Parameters<typeof requireKeyProof>[0]): Promise<void> {
    await requireKeyProof(claim, this.#parts.rules, this.#parts.clock.now());
  }
}

interface Leave {
  readonly deviceId: string;
  readonly key: PublicKey;
  readonly requestId: string;
  readonly consent: string;
}
