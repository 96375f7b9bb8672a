import { defineEntity, p } from "@mikro-orm/core";
import { instant } from "../infra/database/columns.ts";

/** A custom metric that devices of a type have sent. */
export const DeviceMetricEntity = defineEntity({
  name: "DeviceMetric",
  tableName: "device_metrics",
  properties: {
    deviceType: p.text().primary(),
    name: p.text().primary(),
    firstSeenAt: instant(),
    /** To the minute. */
    lastSeenAt: instant(),
  },
  indexes: [{ name: "device_metrics_name_index", properties: ["name"] }],
});
