import type { EntityManager } from "@mikro-orm/postgresql";
import type { Logger } from "pino";
import { v7 as uuidv7 } from "uuid";
import { maxSecretLength } from "../call/bearer.ts";
import { invalidArgument } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { sessionOf } from "../infra/database/session.ts";
import { type Sql, sql } from "../infra/database/sql.ts";
import type { AuditLog } from "./audit-log.ts";
import type { CredentialMemory } from "./authenticator.ts";
import { EnrolmentKeyEntity } from "./enrolment-key.entity.ts";
import { OperatorTokenEntity } from "./operator-token.entity.ts";
import { hashSecret, minPresetLength, newSecret, type SecretKind, secretKindOf } from "./secret.ts";

/** What somebody is let in with at the start. */
export interface BootstrapParts {
  readonly database: Pick<Database, "transact">;
  readonly audit: AuditLog;
  readonly memory: CredentialMemory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The administrator's token that the operator chose (DEVICE_OTA_ADMIN_TOKEN). */
  readonly adminToken?: string | undefined;
  /** The enrolment key that the operator chose (DEVICE_OTA_ENROLMENT_KEY). */
  readonly enrolmentKey?: string | undefined;
}

/** Secrets that are being made and must be shown to the operator: nobody can read them again. */
export interface FirstSecrets {
  readonly adminToken: string | undefined;
  readonly enrolmentKey: string | undefined;
}

/**
 * Makes chosen secrets work; a chosen secret that was changed replaces the one chosen before. Any number of replicas may start
 * at once. Throws `INVALID_REQUEST`, naming the setting, for a chosen secret that is too weak.
 */
export async function adoptChosenSecrets(parts: BootstrapParts): Promise<void> {
  if (kinds.every(({ part }) => parts[part] === undefined)) return;
  for (const kind of kinds) checkPreset(parts[kind.part], kind);
  const replaced: Uint8Array[] = [];
  await parts.database.transact(
    async (em) => {
      for (const kind of kinds) {
        const preset = parts[kind.part];
        if (preset !== undefined) await adopt(em, parts, kind, hashSecret(preset), replaced);
      }
    },
    { lock: "first secrets" },
  );
  parts.memory.forget(replaced);
}

/**
 * Makes, where there is none, a first administrator's token and enrolment key at random, and shows them. They work only after
 * they were shown: a start that fails before leaves them to the next one. Any number of replicas may start at once, and
 * one of them shows them.
 */
export async function makeFirstSecrets(
  parts: BootstrapParts,
  show: (secrets: FirstSecrets) => Promise<void>,
): Promise<void> {
  // One replica at a time: the others wait and then find what the first one made.
  await parts.database.transact(
    async (em) => {
      const adminToken = await makeFirst(em, parts, operatorKind);
      const enrolmentKey = await makeFirst(em, parts, enrolmentKind);
      if (adminToken !== undefined || enrolmentKey !== undefined) await show({ adminToken, enrolmentKey });
    },
    { lock: "first secrets" },
  );
}

/** Who made what was made at start, in the audit log. */
const actor = "system:bootstrap";

interface BootstrapKind {
  readonly secret: SecretKind;
  readonly part: "adminToken" | "enrolmentKey";
  readonly setting: string;
  readonly statements: ReturnType<typeof statementsOf>;
  readonly resource: string;
  readonly insert: (em: EntityManager, id: string, name: string, secretHash: Buffer) => Promise<unknown>;
}

const operatorKind: BootstrapKind = {
  secret: "operator",
  part: "adminToken",
  setting: "DEVICE_OTA_ADMIN_TOKEN",
  statements: statementsOf(sql`operator_tokens`),
  resource: "token",
  insert: (em, id, name, secretHash) =>
    em.insert(OperatorTokenEntity, {
      id,
      name,
      owner: firstOwner,
      role: "admin",
      secretHash,
      creator: actor,
    }),
};

const enrolmentKind: BootstrapKind = {
  secret: "enrolment",
  part: "enrolmentKey",
  setting: "DEVICE_OTA_ENROLMENT_KEY",
  statements: statementsOf(sql`enrolment_keys`),
  resource: "enrolment_key",
  insert: (em, id, name, secretHash) => em.insert(EnrolmentKeyEntity, { id, name, secretHash }),
};

/** The statements on a kind's table. */
function statementsOf(table: Sql) {
  return {
    any: sql`SELECT EXISTS (SELECT FROM ${table}) AS found`,
    revokeOthers: sql`
      UPDATE ${table} SET revoked_at = $1, updated_at = $1
       WHERE name = $2 AND revoked_at IS NULL AND secret_hash <> $3 RETURNING id, secret_hash`,
    known: sql`SELECT revoked_at IS NOT NULL AS revoked FROM ${table} WHERE secret_hash = $1`,
  };
}

const kinds = [operatorKind, enrolmentKind] as const;

/** Whoever starts the service knows both tokens that are made then. */
export const firstOwner = "administrator";

/** The name of what was made at random on the first start. */
const firstName = "first-start";

function checkPreset(secret: string | undefined, { setting, secret: kind }: BootstrapKind): void {
  if (secret === undefined) return;
  if (secret.length < minPresetLength || secret.length > maxSecretLength / 2 || !/^[!-~]+$/.test(secret)) {
    throw invalidArgument(
      setting,
      `must have ${minPresetLength} to ${maxSecretLength / 2} characters of printable ASCII without spaces`,
    );
  }
  const prefix = secretKindOf(secret);
  if (prefix !== undefined && prefix !== kind)
    throw invalidArgument(setting, "is the secret of something else");
}

async function makeFirst(
  em: EntityManager,
  parts: BootstrapParts,
  kind: BootstrapKind,
): Promise<string | undefined> {
  const [row] = await sessionOf(em).query<{ found: boolean }>(kind.statements.any);
  if (row?.found === true) return undefined;
  const secret = newSecret(kind.secret);
  await insert(em, parts, kind, firstName, secret.hash);
  return secret.text;
}

async function adopt(
  em: EntityManager,
  parts: BootstrapParts,
  kind: BootstrapKind,
  secretHash: Buffer,
  replaced: Uint8Array[],
): Promise<void> {
  const now = parts.clock.now();
  const session = sessionOf(em);
  const old = await session.query<{ id: string; secret_hash: Uint8Array }>(kind.statements.revokeOthers, [
    now,
    kind.setting,
    secretHash,
  ]);
  for (const { id, secret_hash } of old) {
    replaced.push(secret_hash);
    await record(em, parts, kind, "revoke", id, `${kind.setting} was changed`);
  }
  const [known] = await session.query<{ revoked: boolean }>(kind.statements.known, [secretHash]);
  if (known === undefined) await insert(em, parts, kind, kind.setting, secretHash);
  // It stays revoked, and the service starts: a revocation must hold, and so must the service.
  else if (known.revoked)
    parts.logger.warn({ setting: kind.setting }, "the chosen secret was revoked; choose another");
}

async function insert(
  em: EntityManager,
  parts: BootstrapParts,
  kind: BootstrapKind,
  name: string,
  secretHash: Buffer,
): Promise<void> {
  const id = uuidv7();
  await kind.insert(em, id, name, secretHash);
  await record(em, parts, kind, "create", id, undefined);
}

async function record(
  em: EntityManager,
  parts: BootstrapParts,
  kind: BootstrapKind,
  verb: string,
  resourceId: string,
  reason: string | undefined,
): Promise<void> {
  await parts.audit.record(em, {
    actor,
    action: `${kind.resource}.${verb}`,
    resourceType: kind.resource,
    resourceId,
    reason,
  });
}
