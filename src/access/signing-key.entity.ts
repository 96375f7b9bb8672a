import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt, instant, updatedAt } from "../infra/database/columns.ts";
import type { KeyRole } from "../manifest/required-signatures.ts";

/** A public key that firmware may be signed with. The service never holds its private half. */
export const SigningKeyEntity = defineEntity({
  name: "SigningKey",
  tableName: "signing_keys",
  properties: {
    /** The key's thumbprint (RFC 7638). */
    id: p.text().primary(),
    name: p.text(),
    algorithm: p.text(),
    publicKeyPem: p.text(),
    role: p.text().$type<KeyRole>().default("release"),
    /** From then on its signatures count no more. */
    expiresAt: instant().strictNullable(),
    revokedAt: instant().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
});

/** A row of signing_keys. */
export type SigningKeyRow = InferEntity<typeof SigningKeyEntity>;
