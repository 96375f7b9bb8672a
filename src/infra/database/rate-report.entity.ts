import { defineEntity, p } from "@mikro-orm/core";
import { createdAt } from "./columns.ts";

/** The calls that one replica let through since its last report, for the others to count. Rows live for a minute or two. */
export const RateReportEntity = defineEntity({
  name: "RateReport",
  tableName: "rate_reports",
  properties: {
    /** One process; another one after a restart. */
    replica: p.uuid().primary(),
    /** From 1 on, in the order in which they were committed. */
    number: p.integer().primary().autoincrement(false),
    /** A list of `[class, caller, calls]`. */
    calls: p.json(),
    reportedAt: createdAt(),
  },
});
