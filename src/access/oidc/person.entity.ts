import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt, instant, updatedAt } from "../../infra/database/columns.ts";

/** A person who came with a token of an OpenID Connect issuer, or signed in there. */
export const PersonEntity = defineEntity({
  name: "Person",
  tableName: "oidc_people",
  properties: {
    id: p.uuid().primary(),
    issuer: p.text(),
    /** Who it is at the issuer; never given to anybody else there. */
    subject: p.text(),
    /** What the person was called when it first came: part of its name on the audit log, and so it stays. */
    name: p.text(),
    lastSeenAt: instant(),
    /** What was signed before does not count any more. */
    endedAt: instant().strictNullable(),
    /** Nothing of the person is let in since then. */
    disabledAt: instant().strictNullable(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  uniques: [{ name: "oidc_people_issuer_subject_unique", properties: ["issuer", "subject"] }],
});

/** A row of oidc_people. */
export type PersonRow = InferEntity<typeof PersonEntity>;
