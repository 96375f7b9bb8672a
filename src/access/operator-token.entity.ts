import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import type { Role } from "../call/identity.ts";
import { createdAt, instant, updatedAt } from "../infra/database/columns.ts";

/** A bearer token of an operator. The token itself is never stored, only its SHA-256. */
export const OperatorTokenEntity = defineEntity({
  name: "OperatorToken",
  tableName: "operator_tokens",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    /** Whose it is: tokens of one owner are one person. */
    owner: p.text(),
    role: p.text().$type<Role>(),
    /** Only these products; empty for all. */
    products: p.array().columnType("text[]").defaultRaw("'{}'"),
    /** Only devices that match; empty for all. */
    deviceFilter: p.text().default(""),
    secretHash: p.blob(),
    requestId: p.uuid().strictNullable(),
    /** Who made it, as the audit log names callers. */
    creator: p.text(),
    expiresAt: instant().strictNullable(),
    revokedAt: instant().strictNullable(),
    lastUsedAt: instant().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  uniques: [{ name: "operator_tokens_secret_hash_unique", properties: ["secretHash"] }],
});

/** A row of operator_tokens. */
export type OperatorTokenRow = InferEntity<typeof OperatorTokenEntity>;
