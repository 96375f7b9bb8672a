import { defineEntity, p } from "@mikro-orm/core";
import { createdAt } from "../infra/database/columns.ts";

/** A secret that all replicas share and nobody else ever sees, by its purpose. */
export const ServiceSecretEntity = defineEntity({
  name: "ServiceSecret",
  tableName: "service_secrets",
  properties: {
    purpose: p.text().primary(),
    secret: p.blob(),
    createdAt: createdAt(),
  },
});
