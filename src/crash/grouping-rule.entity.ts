import { defineEntity, p } from "@mikro-orm/core";
import { createdAt } from "../infra/database/columns.ts";

/** What an operator says belongs together; see {@link GroupingRule} for the columns. */
export const GroupingRuleEntity = defineEntity({
  name: "GroupingRule",
  tableName: "grouping_rules",
  properties: {
    id: p.uuid().primary(),
    title: p.text(),
    fingerprint: p.text(),
    code: p.text(),
    fault: p.text(),
    frame: p.text(),
    message: p.text(),
    createdBy: p.text(),
    createdAt: createdAt(),
  },
});
