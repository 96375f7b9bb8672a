import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt } from "../../infra/database/columns.ts";

/** Another name under which devices of a hardware model report it. */
export const ModelAliasEntity = defineEntity({
  name: "ModelAlias",
  tableName: "model_aliases",
  properties: {
    alias: p.text().primary(),
    hardwareModel: p.text(),
    /** Who said so, as the audit log names callers. */
    creator: p.text(),
    createdAt: createdAt(),
  },
});

/** A row of model_aliases. */
export type ModelAliasRow = InferEntity<typeof ModelAliasEntity>;
