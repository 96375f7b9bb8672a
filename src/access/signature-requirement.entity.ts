import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt, updatedAt } from "../infra/database/columns.ts";

/** How many keys of each role must have signed the firmware of a product; without a row the service's setting alone counts. */
export const SignatureRequirementEntity = defineEntity({
  name: "SignatureRequirement",
  tableName: "signature_requirements",
  properties: {
    product: p.text().primary(),
    releaseSignatures: p.integer(),
    securitySignatures: p.integer(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
});

/** A row of signature_requirements. */
export type SignatureRequirementRow = InferEntity<typeof SignatureRequirementEntity>;
