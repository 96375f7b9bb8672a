import { defineEntity, p } from "@mikro-orm/core";
import { count } from "../../infra/database/columns.ts";

/**
 * How many devices in service share something. A dimension's value is a name or a number; its count is the sum of its
 * rows. Written by triggers on devices and device_state, folded by `FleetCounters`.
 */
export const FleetCountEntity = defineEntity({
  name: "FleetCount",
  tableName: "fleet_counts",
  properties: {
    id: p.bigint("number").primary().autoincrement(),
    dimension: p.text(),
    name: p.text().strictNullable(),
    number: count().strictNullable(),
    count: count(),
  },
});
