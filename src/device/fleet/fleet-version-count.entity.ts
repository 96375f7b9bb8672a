import { defineEntity, p } from "@mikro-orm/core";
import { count, instant } from "../../infra/database/columns.ts";

/**
 * How many devices in service ran a version of a component when an hour was counted. The firmware is the component without
 * a name; its empty version counts the devices that have not told theirs, and is there for each hour that was counted.
 * The version `+` sums up what there was no room for.
 */
export const FleetVersionCountEntity = defineEntity({
  name: "FleetVersionCount",
  tableName: "fleet_version_history",
  properties: {
    hour: instant().primary(),
    component: p.text().primary(),
    version: p.text().primary(),
    deviceCount: count(),
    /** When it was counted, which the first time is not the hour's beginning. */
    countedAt: instant(),
  },
});
