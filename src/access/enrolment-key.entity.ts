import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { count, createdAt, instant, updatedAt } from "../infra/database/columns.ts";

/** A secret with which devices enrol. Only its SHA-256 is stored. */
export const EnrolmentKeyEntity = defineEntity({
  name: "EnrolmentKey",
  tableName: "enrolment_keys",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    secretHash: p.blob(),
    /** 0: as often as devices come. */
    maxUses: count().default(0),
    useCount: count().default(0),
    /** Device types that may enrol with it; empty: all. */
    deviceTypes: p.array().columnType("text[]").defaultRaw("'{}'"),
    /** Serial numbers that may enrol with it, beside those in enrolment_key_serials; neither: all. */
    serialNumberPatterns: p.array().columnType("text[]").defaultRaw("'{}'"),
    /** How many enrolment_key_serials has of it. */
    serialNumberCount: count().default(0),
    /** Whether who enrols with it is in quarantine until an operator approves it. */
    requireApproval: p.boolean().default(false),
    requestId: p.uuid().strictNullable(),
    expiresAt: instant().strictNullable(),
    revokedAt: instant().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  uniques: [{ name: "enrolment_keys_secret_hash_unique", properties: ["secretHash"] }],
});

/** A row of enrolment_keys. */
export type EnrolmentKeyRow = InferEntity<typeof EnrolmentKeyEntity>;
