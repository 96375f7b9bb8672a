import { createHash } from "node:crypto";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { Clock } from "../infra/clock.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { CredentialMemory } from "./authenticator.ts";
import { changeOverReasons, DeviceCredentialEntity } from "./device-credential.entity.ts";
import { newSecret } from "./secret.ts";

/**
 * What devices are known by: bearer tokens, or a key of their own. It lives and dies with changes to a device, in the transaction
 * that makes the change.
 */
export class DeviceCredentials {
  readonly #clock: Clock;
  readonly #memory: CredentialMemory;
  readonly #tokenLifeMs: number | undefined;

  /** `tokenLifeMs`: how long a token works, in milliseconds; for ever unless given. */
  constructor(parts: {
    readonly clock: Clock;
    readonly memory: CredentialMemory;
    readonly tokenLifeMs?: number | undefined;
  }) {
    this.#clock = parts.clock;
    this.#memory = parts.memory;
    this.#tokenLifeMs = parts.tokenLifeMs;
  }

  /** Gives a device a token. */
  async issue(em: EntityManager, deviceId: string): Promise<DeviceToken> {
    const issued = await this.issueMany(em, [deviceId]);
    return issued.get(deviceId) as DeviceToken;
  }

  /** Gives each of many devices a token; returns them by the device's id. */
  async issueMany(
    em: EntityManager,
    deviceIds: readonly string[],
  ): Promise<ReadonlyMap<string, DeviceToken>> {
    const secrets = deviceIds.map(() => newSecret("device"));
    const tokenExpiresAt = this.#expiry();
    await sessionOf(em).run(issueManySql, [
      deviceIds.map(() => uuidv7()),
      deviceIds,
      secrets.map(({ hash }) => hash),
      tokenExpiresAt ?? null,
    ]);
    return new Map(deviceIds.map((id, at) => [id, { token: secrets[at]?.text ?? "", tokenExpiresAt }]));
  }

  /**
   * Gives a device a token that takes the place of `credentialId` at its first use, and returns it with the hashes of those that were to do
   * so before.
   */
  async issueNext(em: EntityManager, deviceId: string, credentialId: string): Promise<NextToken> {
    const secret = newSecret("device");
    const revoked = await sessionOf(em).query<{ secret_hash: Uint8Array }>(revokeOthersSql, [
      deviceId,
      credentialId,
      this.#clock.now(),
      changeOverReasons[1],
    ]);
    const tokenExpiresAt = await this.#insertNext(em, deviceId, secret.hash);
    return { token: secret.text, tokenExpiresAt, replaced: revoked.map((row) => row.secret_hash) };
  }

  /** Lets a device come with what a key signs, in SubjectPublicKeyInfo, of which it has none now. */
  async setKey(em: EntityManager, deviceId: string, publicKey: Uint8Array): Promise<void> {
    await sessionOf(em).run(setKeySql, [deviceId, Buffer.from(publicKey)]);
  }

  /** The key that a device has; undefined if it has none. */
  async keyOf(em: EntityManager, deviceId: string): Promise<Buffer | undefined> {
    const [row] = await sessionOf(em).query<{ public_key: Buffer }>(keySql, [deviceId]);
    return row?.public_key;
  }

  /** Whether a token of the device, by the id of its credential, still works. */
  async isLive(em: EntityManager, deviceId: string, credentialId: string): Promise<boolean> {
    return (await sessionOf(em).query(isLiveSql, [deviceId, credentialId])).length > 0;
  }

  /**
   * Revokes all credentials of a device, or of several, with their keys, and returns their hashes. Pass these to {@link forget} after the commit: until
   * then other calls may still read, and remember, that they are valid.
   */
  async revokeAll(
    em: EntityManager,
    devices: string | readonly string[],
    reason: string,
  ): Promise<readonly Uint8Array[]> {
    const session = sessionOf(em);
    const deviceIds = typeof devices === "string" ? [devices] : devices;
    const revoked = await session.query<{ secret_hash: Uint8Array }>(revokeSql, [
      deviceIds,
      this.#clock.now(),
      reason,
    ]);
    const keys = await session.query<{ public_key: Uint8Array }>(removeKeySql, [deviceIds]);
    // What comes after is new.
    await session.run(forgetRotationSql, [deviceIds]);
    return [
      ...revoked.map((row) => row.secret_hash),
      ...keys.map((row) => createHash("sha256").update(row.public_key).digest()),
    ];
  }

  /** The hashes of the credentials that a device has, for {@link forget} when it is to be read anew what they are worth. */
  async live(em: EntityManager, deviceId: string): Promise<readonly Uint8Array[]> {
    const rows = await sessionOf(em).query<{ secret_hash: Uint8Array }>(liveSql, [deviceId]);
    return rows.map((row) => row.secret_hash);
  }

  /** Makes revoked or refused credentials stop working at once here, and within moments on other replicas. */
  forget(secretHashes: readonly Uint8Array[]): void {
    this.#memory.forget(secretHashes);
  }

  async #insertNext(em: EntityManager, deviceId: string, secretHash: Buffer): Promise<Date | undefined> {
    const expiresAt = this.#expiry();
    await em.insert(DeviceCredentialEntity, {
      id: uuidv7(),
      deviceId,
      expiresAt: expiresAt ?? null,
      secretHash,
      isNext: true,
    });
    return expiresAt;
  }

  #expiry(): Date | undefined {
    return this.#tokenLifeMs === undefined
      ? undefined
      : new Date(this.#clock.now().getTime() + this.#tokenLifeMs);
  }
}

/** A device's token, which is stored nowhere. */
export interface DeviceToken {
  readonly token: string;
  /** When it stops working; undefined: never. */
  readonly tokenExpiresAt: Date | undefined;
}

/** A token that waits for its first use. */
export interface NextToken extends DeviceToken {
  readonly replaced: readonly Uint8Array[];
}

const revokeOthersSql = sql`
  UPDATE device_credentials SET revoked_at = $3, revoke_reason = $4, updated_at = now()
   WHERE device_id = $1 AND id::text <> $2 AND revoked_at IS NULL RETURNING secret_hash`;

const liveSql = sql`SELECT secret_hash FROM device_credentials WHERE device_id = $1 AND revoked_at IS NULL`;

const isLiveSql = sql`
  SELECT 1 FROM device_credentials WHERE device_id = $1 AND id::text = $2 AND revoked_at IS NULL`;

const revokeSql = sql`
  UPDATE device_credentials SET revoked_at = $2, revoke_reason = $3, updated_at = now()
   WHERE device_id = ANY($1) AND revoked_at IS NULL RETURNING secret_hash`;

const issueManySql = sql`
  INSERT INTO device_credentials (id, device_id, secret_hash, expires_at)
  SELECT id, device_id, secret_hash, $4
    FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS c (id, device_id, secret_hash)`;

const setKeySql = sql`INSERT INTO device_keys (device_id, public_key) VALUES ($1, $2)`;

const keySql = sql`SELECT public_key FROM device_keys WHERE device_id = $1`;

const forgetRotationSql = sql`
  UPDATE devices SET token_rotation_requested_at = NULL WHERE id = ANY($1) AND token_rotation_requested_at IS NOT NULL`;

const removeKeySql = sql`DELETE FROM device_keys WHERE device_id = ANY($1) RETURNING public_key`;
