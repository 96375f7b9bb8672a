import { credentialExpired, credentialInvalid, credentialRevoked, deviceBlocked } from "../call/bearer.ts";
import type { Identity, Role } from "../call/identity.ts";
import { scopeOf } from "../call/scope.ts";
import { BatchLoader } from "../infra/batch-loader.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { Session } from "../infra/database/session.ts";
import { prepared, sql } from "../infra/database/sql.ts";
import { type Cacheable, SecondChanceCache } from "../infra/second-chance-cache.ts";
import { changeOverReasons } from "./device-credential.entity.ts";
import { secretKey, secretKeyOf } from "./secret.ts";

/** Where revoked and replaced credentials are forgotten, on this replica at once and on the others soon. */
export interface CredentialMemory {
  /** Takes the SHA-256 hashes of secrets that changed in the database. Call it after the commit. */
  forget(secretHashes: readonly Uint8Array[]): void;
}

/** What an {@link Authenticator} is made of. */
export interface AuthenticatorParts {
  readonly database: Pick<Database, "pool" | "listen" | "notify">;
  readonly clock: Clock;
  /** Is told of every use of an operator's token; must be quick. */
  readonly uses?: { used(tokenId: string): void };
  /** The most credentials to remember: about 400 bytes each. */
  readonly maxCredentials?: number;
}

/**
 * Says who holds a credential. A credential that was seen in the last {@link freshForMs} is answered from memory, without
 * a promise; others are read from the database, many at a time. Secrets are compared by their SHA-256, so that neither
 * the time of a lookup nor this process's memory tells anything about them.
 */
export class Authenticator implements CredentialMemory {
  readonly #database: AuthenticatorParts["database"];
  readonly #clock: Clock;
  readonly #uses: AuthenticatorParts["uses"];
  readonly #known: SecondChanceCache<Credential>;
  /** Credentials that do not exist. */
  readonly #unknown = new SecondChanceCache<Miss>(maxUnknown);
  readonly #loader: BatchLoader<Credential>;
  readonly #stopListening: () => void;
  readonly #listeners: ((deviceId?: string) => void)[] = [];
  /** Since when every notice was heard, in monotonic milliseconds: what was read before must be read again. */
  #heardSinceMs = Number.NEGATIVE_INFINITY;

  constructor(parts: AuthenticatorParts) {
    this.#database = parts.database;
    this.#clock = parts.clock;
    this.#uses = parts.uses;
    this.#known = new SecondChanceCache(parts.maxCredentials ?? defaultMaxCredentials);
    this.#loader = new BatchLoader({
      load: (keys) => readCredentials(this.#database.pool, keys, this.#clock.monotonicMs()),
      settled: (key, credential) => {
        if (credential !== undefined) this.#known.set(key, credential);
      },
      maxBatch: 1_000,
      maxPending: maxPendingLookups,
    });
    this.#stopListening = parts.database.listen(channel, {
      notified: (payload) => this.#drop(secretKeyOf(Buffer.from(payload, "base64url"))),
      listening: () => {
        this.#heardSinceMs = this.#clock.monotonicMs();
      },
    });
  }

  /**
   * Says who holds a token; `beforeLookUp` may refuse to look for one that is not in memory. Throws (or rejects with)
   * `CREDENTIAL_INVALID`, `CREDENTIAL_EXPIRED`, `CREDENTIAL_REVOKED` or `DEVICE_BLOCKED`, and `DATABASE_UNAVAILABLE` if it must be read
   * and cannot be.
   */
  identify(token: string, beforeLookUp?: () => void): Identity | Promise<Identity> {
    return this.#identify(token, { again: false, beforeLookUp });
  }

  /** The same of a call that was let in before: a device's token still counts for it if the next one took its place meanwhile. */
  identifyAgain(token: string): Identity | Promise<Identity> {
    return this.#identify(token, { again: true });
  }

  #identify(token: string, { again, beforeLookUp }: Look): Identity | Promise<Identity> {
    const key = secretKey(token);
    const nowMs = this.#clock.monotonicMs();
    const known = this.#known.get(key);
    if (known !== undefined && known.readAtMs >= this.#heardSinceMs && nowMs - known.readAtMs < freshForMs) {
      return this.#admit(known, again);
    }
    const miss = this.#unknown.get(key);
    if (miss !== undefined && nowMs - miss.atMs < unknownForMs) throw credentialInvalid();
    if (known === undefined) beforeLookUp?.();
    return this.#read(key, known, again);
  }

  /** Tells the listener of each change, and of which device the credential is if it is remembered. */
  onChange(listener: (deviceId?: string) => void): void {
    this.#listeners.push(listener);
  }

  forget(secretHashes: readonly Uint8Array[]): void {
    for (const hash of secretHashes) {
      this.#drop(secretKeyOf(hash));
      this.#database.notify(channel, Buffer.from(hash).toString("base64url"));
    }
  }

  /** How many credentials are remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** Stops listening for revocations. */
  close(): void {
    this.#stopListening();
  }

  #drop(key: string): void {
    const holder = this.#known.get(key)?.identity;
    this.#known.delete(key);
    this.#unknown.delete(key);
    this.#loader.changed(key);
    const deviceId = holder?.kind === "device" ? holder.deviceId : undefined;
    for (const listener of this.#listeners) listener(deviceId);
  }

  async #read(key: string, known: Credential | undefined, again: boolean): Promise<Identity> {
    let found: Credential | undefined;
    try {
      found = await this.#loader.get(key);
    } catch (error) {
      const outage = asDatabaseError(error);
      if (outage === undefined) throw error;
      // While the database is away nobody can revoke anything, so what was true a moment ago still is.
      if (known !== undefined && this.#clock.monotonicMs() - known.readAtMs < trustedForMs)
        return this.#admit(known, again);
      throw outage;
    }
    if (found === undefined) {
      this.#known.delete(key);
      this.#unknown.set(key, { atMs: this.#clock.monotonicMs(), used: false });
      throw credentialInvalid();
    }
    const identity = this.#admit(found, again);
    if (found.isNext) await this.#takePlace(identity);
    return identity;
  }

  /** A device has its next token: those before it count no more. */
  async #takePlace(identity: Identity): Promise<void> {
    if (identity.kind !== "device") return;
    const revoked = await this.#database.pool.query<{ secret_hash: Uint8Array }>(takePlaceSql, [
      identity.credentialId,
      this.#clock.now(),
      changeOverReasons[0],
      unwantedReason,
    ]);
    this.forget(revoked.map((row) => row.secret_hash));
  }

  #admit(credential: Credential, again: boolean): Identity {
    const countsByNext = again && credential.changedOver;
    if (credential.revoked && !countsByNext) throw credentialRevoked();
    if (credential.blocked) throw deviceBlocked();
    if (!countsByNext && credential.expiresAt !== undefined && credential.expiresAt <= this.#clock.now()) {
      throw credentialExpired(credential.expiresAt);
    }
    if (credential.identity.kind === "operator") this.#uses?.used(credential.identity.tokenId);
    return credential.identity;
  }
}

/** For how long a credential is believed without a look at the database: the longest that a lost notice goes unnoticed. */
export const freshForMs = 30_000;

/** For how long a credential is believed while the database cannot be asked: a restart or failover passes unnoticed. */
export const trustedForMs = 5 * 60_000;

/** For how long a credential that does not exist is refused without a look: a new one is at most that late everywhere. */
export const unknownForMs = 5_000;

/** Enough for the devices of one replica; beyond it the least recently used are read again. */
const defaultMaxCredentials = 300_000;

/** What guessing costs in memory at most: some 100 bytes each. */
const maxUnknown = 10_000;

/** As many devices as may come back at once after an outage, and no more than a few megabytes. */
const maxPendingLookups = 20_000;

/** Not one of {@link changeOverReasons}: whoever has such a token goes on with nothing. */
const unwantedReason = "an operator wanted another one";

const channel = "credentials_changed";

/** For what a token is looked at. */
interface Look {
  /** Whether the call was let in before. */
  readonly again: boolean;
  readonly beforeLookUp?: (() => void) | undefined;
}

interface Credential {
  readonly identity: Identity;
  readonly expiresAt: Date | undefined;
  readonly revoked: boolean;
  /** Whether it was revoked because its device changed over to another one, and nobody has revoked any of the device's since. */
  readonly changedOver: boolean;
  /** Whether its device is blocked. */
  readonly blocked: boolean;
  /** Whether it was never used, and takes the place of the one before. */
  readonly isNext: boolean;
  used: boolean;
  /** Monotonic milliseconds of the start of the read: what changed later is not in it. */
  readonly readAtMs: number;
}

interface Miss extends Cacheable {
  /** When it was last looked for, in monotonic milliseconds. */
  readonly atMs: number;
}

interface CredentialRow {
  readonly kind: "operator" | "device";
  readonly id: string;
  readonly holder: string;
  readonly role: Role | null;
  readonly secret_hash: Buffer;
  readonly expires_ms: number | null;
  readonly revoked: boolean;
  readonly changed_over: boolean;
  readonly blocked: boolean;
  readonly is_next: boolean;
  readonly shall_rotate: boolean;
  readonly products: readonly string[] | null;
  readonly device_filter: string | null;
}

async function readCredentials(
  session: Session,
  keys: readonly string[],
  readAtMs: number,
): Promise<ReadonlyMap<string, Credential>> {
  const hashes = keys.map((key) => Buffer.from(key, "latin1"));
  const rows = await session.query<CredentialRow>(readSql, [hashes, changeOverReasons]);
  return new Map(rows.map((row) => [secretKeyOf(row.secret_hash), credentialOf(row, readAtMs)]));
}

const readSql = prepared(
  "access_read_credentials",
  sql`
  SELECT 'device' AS kind, c.id, c.device_id::text AS holder, NULL AS role, c.secret_hash,
         (extract(epoch FROM c.expires_at) * 1000)::float8 AS expires_ms, c.revoked_at IS NOT NULL AS revoked,
         c.revoked_at IS NOT NULL AND c.revoke_reason = ANY($2::text[]) AND NOT EXISTS (
           SELECT 1 FROM device_credentials later
            WHERE later.device_id = c.device_id AND later.revoked_at >= c.revoked_at
              AND later.revoke_reason <> ALL($2::text[])) AS changed_over,
         d.blocked_at IS NOT NULL AS blocked, c.is_next,
         coalesce(d.token_rotation_requested_at > c.created_at, false) AS shall_rotate, NULL::text[] AS products, NULL AS device_filter
    FROM device_credentials c JOIN devices d ON d.id = c.device_id WHERE c.secret_hash = ANY($1::bytea[])
  UNION ALL
  SELECT 'operator', id, name, role, secret_hash,
         (extract(epoch FROM expires_at) * 1000)::float8, revoked_at IS NOT NULL, false, false, false, false, products, device_filter
    FROM operator_tokens WHERE secret_hash = ANY($1::bytea[])`,
);

/**
 * One that was revoked meanwhile takes nobody's place. A device that was to exchange its token has done so; its row is locked first, as
 * wherever both change.
 */
const takePlaceSql = sql`
  WITH asked AS MATERIALIZED (
    SELECT d.id FROM devices d JOIN device_credentials c ON c.device_id = d.id
     WHERE c.id = $1::uuid AND d.token_rotation_requested_at <= c.created_at FOR NO KEY UPDATE OF d),
  used AS (
    UPDATE device_credentials SET is_next = false, updated_at = now()
     WHERE id = $1::uuid AND is_next AND revoked_at IS NULL AND (SELECT count(*) FROM asked) >= 0
    RETURNING id, device_id),
  done AS (
    UPDATE devices d SET token_rotation_requested_at = NULL, updated_at = now()
      FROM asked JOIN used ON used.device_id = asked.id WHERE d.id = asked.id)
  UPDATE device_credentials c
     SET revoked_at = $2, revoke_reason = CASE WHEN EXISTS (SELECT 1 FROM asked) THEN $4 ELSE $3 END, updated_at = now()
    FROM used WHERE c.device_id = used.device_id AND c.id <> used.id AND c.revoked_at IS NULL
  RETURNING c.secret_hash`;

function credentialOf(row: CredentialRow, readAtMs: number): Credential {
  const identity: Identity =
    row.kind === "device"
      ? {
          kind: "device",
          deviceId: row.holder,
          credentialId: row.id,
          hasToken: true,
          ...(row.expires_ms === null ? {} : { expiresMs: row.expires_ms }),
          ...(row.shall_rotate ? { shallRotate: true } : {}),
        }
      : {
          kind: "operator",
          tokenId: row.id,
          name: row.holder,
          role: row.role ?? "viewer",
          scope: scopeOf(row.products ?? [], row.device_filter ?? ""),
        };
  return {
    identity,
    expiresAt: row.expires_ms === null ? undefined : new Date(row.expires_ms),
    revoked: row.revoked,
    changedOver: row.changed_over,
    blocked: row.blocked,
    isNext: row.is_next,
    used: false,
    readAtMs,
  };
}
