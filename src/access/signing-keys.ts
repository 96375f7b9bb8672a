import { createPublicKey } from "node:crypto";
import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { Cause } from "../call/cause.ts";
import type { ListPosition } from "../call/list-page.ts";
import { invalidArgument, notFound, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";
import { algorithmOf, type SignatureAlgorithm, thumbprint } from "../manifest/signature.ts";
import type { AuditLog } from "./audit-log.ts";
import { SigningKeyEntity, type SigningKeyRow } from "./signing-key.entity.ts";

/** Whoever must act when a signing key no longer counts. */
export interface SigningKeyRevoked {
  /**
   * Pauses the rollouts that rest on the key and returns how many it paused. Called after the revocation is committed,
   * and again if the revocation is repeated.
   */
  signingKeyRevoked(keyId: string, why: Cause): Promise<number>;
}

/** What {@link SigningKeys} is made of. */
export interface SigningKeysParts {
  readonly database: Pick<Database, "em" | "transact">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly revoked: SigningKeyRevoked;
}

/** The public keys that firmware signatures are checked with. */
export class SigningKeys {
  readonly #parts: SigningKeysParts;

  constructor(parts: SigningKeysParts) {
    this.#parts = parts;
  }

  /** The key as it is at this moment, read with the caller's entity manager; undefined if it is not registered. */
  async find(
    keyId: string,
    em: EntityManager,
  ): Promise<{ readonly publicKeyPem: string; readonly revoked: boolean } | undefined> {
    const key = await em.findOne(SigningKeyEntity, keyId);
    return key === null ? undefined : { publicKeyPem: key.publicKeyPem, revoked: key.revokedAt !== null };
  }

  /**
   * Registers a public key in PEM: Ed25519, ECDSA P-256 or RSA of 3,072 bits or more. A known key is returned as it is.
   * Throws `INVALID_REQUEST` for another kind of key and `SIGNING_KEY_REVOKED` for one that was revoked: that is final.
   */
  async register(request: { actor: string; name: string; publicKeyPem: string }): Promise<SigningKeyRow> {
    const { database, audit, clock } = this.#parts;
    const { actor, name, publicKeyPem } = request;
    const id = thumbprint(publicKeyPem);
    const algorithm = checkedAlgorithm(publicKeyPem);
    return await database.transact(async (em, session) => {
      const created = await session.run(insertSql, [id, name, algorithm, publicKeyPem, clock.now()]);
      const key = await em.findOneOrFail(SigningKeyEntity, id);
      if (key.revokedAt !== null) {
        throw new OtaError("failed_precondition", "SIGNING_KEY_REVOKED", `signing key ${id} was revoked`, {
          metadata: { id, revoke_time: key.revokedAt.toISOString() },
        });
      }
      if (created > 0) {
        await audit.record(em, {
          actor,
          action: "signing_key.register",
          resourceType: "signing_key",
          resourceId: id,
          details: { name, algorithm },
        });
      }
      return key;
    });
  }

  /** Lists keys, newest first, revoked ones too. `after` is the {@link signingKeyPosition} of a key. */
  async list({ limit, after }: ListPosition): Promise<SigningKeyRow[]> {
    const [createdMs, id] = after?.split("/") ?? [];
    const createdAt = new Date(Number(createdMs));
    return await this.#parts.database
      .em()
      .find(
        SigningKeyEntity,
        createdMs === undefined || id === undefined
          ? {}
          : { $or: [{ createdAt: { $lt: createdAt } }, { createdAt, id: { $lt: id } }] },
        { orderBy: { createdAt: "desc", id: "desc" }, limit, disableIdentityMap: true },
      );
  }

  /**
   * Revokes a key: its signatures count no more, and the rollouts that rest on them are paused. A repeat pauses what is
   * left to pause. Throws `NOT_FOUND`.
   */
  async revoke(request: {
    actor: string;
    id: string;
    reason: string;
  }): Promise<{ key: SigningKeyRow; pausedRollouts: number }> {
    const { database, audit, clock, revoked } = this.#parts;
    const { actor, id, reason } = request;
    const key = await database.transact(async (em) => {
      const row = await em.findOne(SigningKeyEntity, id, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (row === null) throw notFound("signing key", id);
      if (row.revokedAt !== null) return row;
      row.revokedAt = clock.now();
      await audit.record(em, {
        actor,
        action: "signing_key.revoke",
        resourceType: "signing_key",
        resourceId: id,
        reason,
        details: { name: row.name },
      });
      return row;
    });
    return { key, pausedRollouts: await revoked.signingKeyRevoked(id, { actor, reason }) };
  }
}

/** A key's place in the list, for {@link SigningKeys.list}. */
export function signingKeyPosition(key: SigningKeyRow): string {
  return `${key.createdAt.getTime()}/${key.id}`;
}

/** NIST SP 800-57 counts 3,072 bits as 128 bits of security, as much as Ed25519 and P-256 give; devices live long. */
const minRsaBits = 3072;

const insertSql = sql`
  INSERT INTO signing_keys (id, name, algorithm, public_key_pem, created_at, updated_at)
  VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (id) DO NOTHING`;

const contractNames: Readonly<Record<SignatureAlgorithm, string>> = {
  ed25519: "ed25519",
  "ecdsa-p256-sha256": "ecdsa-p256",
  "rsa-pss-sha256": "rsa-pss",
};

function checkedAlgorithm(publicKeyPem: string): string {
  const algorithm = algorithmOf(publicKeyPem);
  const bits = createPublicKey(publicKeyPem).asymmetricKeyDetails?.modulusLength ?? 0;
  if (algorithm === "rsa-pss-sha256" && bits < minRsaBits) {
    throw invalidArgument(
      "public_key_pem",
      `an RSA key needs at least ${minRsaBits} bits, this one has ${bits}`,
    );
  }
  return contractNames[algorithm];
}
