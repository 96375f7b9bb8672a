import { defineEntity, type InferEntity, p } from "@mikro-orm/core";
import { createdAt } from "../../infra/database/columns.ts";

/** A filter over devices that operators keep under a name. */
export const SavedFilterEntity = defineEntity({
  name: "SavedFilter",
  tableName: "saved_filters",
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    filter: p.text(),
    /** Who saved it, as the audit log names callers. */
    creator: p.text(),
    createdAt: createdAt(),
  },
  uniques: [{ name: "saved_filters_name_unique", properties: ["name"] }],
});

/** A row of saved_filters. */
export type SavedFilterRow = InferEntity<typeof SavedFilterEntity>;
