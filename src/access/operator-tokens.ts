import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { Role } from "../call/identity.ts";
import type { ListPosition } from "../call/list-page.ts";
import type { Scope } from "../call/scope.ts";
import { notFound, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import type { IdempotencyKeys } from "../infra/database/idempotency-keys.ts";
import { requestDigest } from "../infra/database/request-digest.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { AuditLog } from "./audit-log.ts";
import type { CredentialMemory } from "./authenticator.ts";
import { OperatorTokenEntity, type OperatorTokenRow } from "./operator-token.entity.ts";
import { newSecret, requireFuture } from "./secret.ts";

/** What the classes that keep credentials are made of. */
export interface CredentialParts {
  readonly database: Pick<Database, "em" | "transact">;
  readonly idempotency: IdempotencyKeys;
  readonly audit: AuditLog;
  /** Where changed credentials are forgotten after a commit. */
  readonly memory: CredentialMemory;
  readonly clock: Clock;
}

/** What {@link OperatorTokens} are made of. */
export interface OperatorTokensParts extends CredentialParts {
  /** Throws `INVALID_FILTER` for what is no filter over devices. */
  readonly checkDeviceFilter: (text: string) => void;
}

/** A token to create. */
export interface NewOperatorToken {
  /** Who asks, as the audit log names callers. */
  readonly actor: string;
  /** The caller's UUID of this try (AIP-155). */
  readonly requestId: string | undefined;
  readonly name: string;
  /** Whose it is; by default the name. */
  readonly owner?: string | undefined;
  readonly role: Role;
  /** What it is limited to; by default nothing. */
  readonly scope?: Scope | undefined;
  /** Undefined means that it never expires. */
  readonly expiresAt: Date | undefined;
}

/** Operators' bearer tokens: creates, lists and revokes them. */
export class OperatorTokens {
  readonly #parts: OperatorTokensParts;

  constructor(parts: OperatorTokensParts) {
    this.#parts = parts;
  }

  /**
   * Creates a token and returns its secret, which is stored nowhere. A repeat with the same request id returns the same
   * token with a fresh secret, and the lost one stops working. Throws `REQUEST_ID_REUSED`, `DUPLICATE` for the name of another
   * token that works, and `INVALID_REQUEST` for an expiry in the past.
   */
  async create(request: NewOperatorToken): Promise<{ token: OperatorTokenRow; secret: string }> {
    const { database, idempotency, audit, memory, clock } = this.#parts;
    const { actor, name, role, expiresAt, scope } = request;
    const owner = request.owner ?? name;
    requireFuture(expiresAt, clock);
    if (scope !== undefined) this.#parts.checkDeviceFilter(scope.deviceFilter);
    const secret = newSecret("operator");
    const replaced: Uint8Array[] = [];
    const key = {
      caller: actor,
      method: "ota.v1.AccessService/CreateToken",
      requestId: request.requestId,
      // An owner only if one is said, so that a repeat is one across releases.
      requestDigest: requestDigest({ name, owner: request.owner, role, scope, expiresAt }),
    };
    const token = await database.transact(async (em) => {
      const outcome = await idempotency.once(em, key, async () => {
        await requireFreeName(em, name, clock.now());
        const id = uuidv7();
        await em.insert(OperatorTokenEntity, {
          id,
          name,
          owner,
          role,
          products: [...(scope?.products ?? [])],
          deviceFilter: scope?.deviceFilter ?? "",
          secretHash: secret.hash,
          requestId: request.requestId ?? null,
          creator: actor,
          expiresAt: expiresAt ?? null,
        });
        return id;
      });
      const row = await em.findOneOrFail(OperatorTokenEntity, outcome.resourceId);
      if (outcome.repeated) {
        replaced.push(row.secretHash);
        row.secretHash = secret.hash;
      }
      await audit.record(em, {
        actor,
        action: outcome.repeated ? "token.reissue" : "token.create",
        resourceType: "token",
        resourceId: row.id,
        details: {
          name,
          owner,
          role,
          ...(scope && { products: scope.products.join(", "), device_filter: scope.deviceFilter }),
        },
      });
      return row;
    }, oneAtATime);
    memory.forget(replaced);
    return { token, secret: secret.text };
  }

  /** Lists tokens, newest first, revoked ones too. */
  async list({ limit, after }: ListPosition): Promise<OperatorTokenRow[]> {
    return await this.#parts.database
      .em()
      .find(OperatorTokenEntity, after === undefined ? {} : { id: { $lt: after } }, {
        orderBy: { id: "desc" },
        limit,
        disableIdentityMap: true,
      });
  }

  /**
   * Revokes a token at once; one that is revoked already stays as it is. Throws `NOT_FOUND`, and `LAST_ADMINISTRATOR` if nobody
   * could make tokens any more.
   */
  async revoke(request: { actor: string; id: string; reason: string }): Promise<OperatorTokenRow> {
    const { database, audit, memory, clock } = this.#parts;
    const { actor, id, reason } = request;
    const token = await database.transact(async (em) => {
      const row = await em.findOne(OperatorTokenEntity, id, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (row === null) throw notFound("token", id);
      if (row.revokedAt !== null) return row;
      if (row.role === "admin") await requireOtherAdministrator(em, row, clock.now());
      row.revokedAt = clock.now();
      await audit.record(em, {
        actor,
        action: "token.revoke",
        resourceType: "token",
        resourceId: id,
        reason,
        details: { name: row.name },
      });
      return row;
    }, oneAtATime);
    memory.forget([token.secretHash]);
    return token;
  }
}

/** What is asked of all tokens together holds only if they change one after the other: names, and that an administrator is left. */
const oneAtATime = { lock: "operator tokens" } as const;

/** Names stand for tokens in the audit log, and people confuse `bob` and `Bob`. */
async function requireFreeName(em: EntityManager, name: string, now: Date): Promise<void> {
  const [holder] = await sessionOf(em).query<{ id: string }>(holderSql, [name, now]);
  if (holder === undefined) return;
  throw new OtaError(
    "already_exists",
    "DUPLICATE",
    `a token named ${name} works already; choose another name or revoke that one`,
    { metadata: { resource: "token", name, id: holder.id } },
  );
}

async function requireOtherAdministrator(
  em: EntityManager,
  { id, name, expiresAt }: OperatorTokenRow,
  now: Date,
): Promise<void> {
  // One that does not work any more is no loss.
  if (expiresAt !== null && expiresAt <= now) return;
  const [other] = await sessionOf(em).query<{ id: string }>(otherAdministratorSql, [id, now]);
  if (other !== undefined) return;
  throw new OtaError(
    "failed_precondition",
    "LAST_ADMINISTRATOR",
    `${name} is the last administrator's token: without it nobody could make another one; create one with the role admin first`,
    { metadata: { resource: "token", id, name } },
  );
}

const holderSql = sql`
  SELECT id FROM operator_tokens
   WHERE lower(name) = lower($1) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2::timestamptz) LIMIT 1`;

const otherAdministratorSql = sql`
  SELECT id FROM operator_tokens
   WHERE role = 'admin' AND id <> $1::uuid AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2::timestamptz)
   LIMIT 1`;
