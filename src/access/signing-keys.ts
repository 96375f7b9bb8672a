import { createPublicKey } from "node:crypto";
import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { Actor, Cause } from "../call/cause.ts";
import type { ListPosition } from "../call/list-page.ts";
import { invalidArgument, notFound, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sql } from "../infra/database/sql.ts";
import type { KeyRole } from "../manifest/required-signatures.ts";
import { algorithmOf, type SignatureAlgorithm, thumbprint } from "../manifest/signature.ts";
import { fromTo } from "./audit-change.ts";
import type { AuditLog } from "./audit-log.ts";
import { requireFuture } from "./secret.ts";
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

/** What an administrator says of a public key. */
export interface NewSigningKey {
  readonly actor: string;
  readonly name: string;
  readonly publicKeyPem: string;
  /** `release` unless given. */
  readonly role?: KeyRole | undefined;
  readonly expiresAt?: Date | undefined;
}

/** What to change of a key; what is undefined stays. */
export interface SigningKeyChange extends Actor {
  readonly id: string;
  readonly reason: string;
  readonly role?: KeyRole | undefined;
  readonly expiresAt?: Date | undefined;
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
  ): Promise<
    | (Pick<SigningKeyRow, "publicKeyPem" | "role"> & {
        readonly revoked: boolean;
        readonly expiresAt: Date | undefined;
      })
    | undefined
  > {
    const key = await em.findOne(SigningKeyEntity, keyId);
    if (key === null) return undefined;
    const { publicKeyPem, role, revokedAt, expiresAt } = key;
    return { publicKeyPem, role, revoked: revokedAt !== null, expiresAt: expiresAt ?? undefined };
  }

  /**
   * Registers a public key in PEM: Ed25519, ECDSA P-256 or RSA of 3,072 bits or more. A known key is returned as it is. Throws
   * `INVALID_REQUEST` for another kind of key or an expiry in the past, `DUPLICATE` if the known key has another role or expiry,
   * and `SIGNING_KEY_REVOKED` for one that was revoked: that is final.
   */
  async register(request: NewSigningKey): Promise<SigningKeyRow> {
    const { database, audit, clock } = this.#parts;
    const { actor, name, publicKeyPem, role = "release", expiresAt } = request;
    const id = thumbprint(publicKeyPem);
    const algorithm = checkedAlgorithm(publicKeyPem);
    requireFuture(expiresAt, clock);
    return await database.transact(async (em, session) => {
      const created = await session.run(insertSql, [
        id,
        name,
        algorithm,
        publicKeyPem,
        role,
        expiresAt ?? null,
        clock.now(),
      ]);
      const key = await em.findOneOrFail(SigningKeyEntity, id);
      refuseRevoked(key);
      if (key.role !== role || (expiresAt !== undefined && expiresAt.getTime() !== key.expiresAt?.getTime()))
        throw registeredOtherwise(key);
      if (created > 0) {
        await audit.record(em, {
          actor,
          action: "signing_key.register",
          resourceType: "signing_key",
          resourceId: id,
          details: { name, algorithm, role, ...expiryDetail(key.expiresAt) },
        });
      }
      return key;
    });
  }

  /**
   * Changes what a key vouches for, or until when; an expiry that is past takes what it signed out of account at once. Throws
   * `NOT_FOUND`, and `SIGNING_KEY_REVOKED`: nothing brings a revoked key back.
   */
  async update(request: SigningKeyChange): Promise<SigningKeyRow> {
    const { database, audit } = this.#parts;
    const { actor, id, reason, role, expiresAt } = request;
    return await database.transact(async (em) => {
      const key = await em.findOne(SigningKeyEntity, id, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (key === null) throw notFound("signing key", id);
      refuseRevoked(key);
      const before = { role: key.role, expiresAt: key.expiresAt };
      key.role = role ?? before.role;
      key.expiresAt = expiresAt ?? before.expiresAt;
      if (key.role === before.role && key.expiresAt?.getTime() === before.expiresAt?.getTime()) return key;
      await audit.record(em, {
        actor,
        action: "signing_key.update",
        resourceType: "signing_key",
        resourceId: id,
        reason,
        details: {
          name: key.name,
          ...fromTo("role", before.role, key.role),
          ...fromTo("expire_time", before.expiresAt, key.expiresAt),
        },
      });
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
  INSERT INTO signing_keys (id, name, algorithm, public_key_pem, role, expires_at, created_at, updated_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING`;

function refuseRevoked({ id, revokedAt }: SigningKeyRow): void {
  if (revokedAt === null) return;
  throw new OtaError("failed_precondition", "SIGNING_KEY_REVOKED", `signing key ${id} was revoked`, {
    metadata: { id, revoke_time: revokedAt.toISOString() },
  });
}

function registeredOtherwise({ id, role, expiresAt }: SigningKeyRow): OtaError {
  const end = expiresAt === null ? "without an expiry" : `until ${expiresAt.toISOString()}`;
  return new OtaError(
    "already_exists",
    "DUPLICATE",
    `signing key ${id} is registered with the role ${role} ${end}; change that with UpdateSigningKey`,
    { metadata: { resource: "signing key", id, role, ...expiryDetail(expiresAt) } },
  );
}

function expiryDetail(expiresAt: Date | null): Record<string, string> {
  return expiresAt === null ? {} : { expire_time: expiresAt.toISOString() };
}

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
