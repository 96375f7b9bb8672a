import { defineEntity, p } from "@mikro-orm/core";
import { count, createdAt, updatedAt } from "../../infra/database/columns.ts";

/** What an operator said of a device type. */
export const DeviceTypeEntity = defineEntity({
  name: "DeviceType",
  tableName: "device_types",
  properties: {
    name: p.text().primary(),
    /** How often a sign of life of its devices is expected, in milliseconds; null once that is taken away. */
    expectedIntervalMs: count().strictNullable(),
    /** Counts the changes. */
    revision: p.integer().default(1),
    /** Whether all its devices follow. */
    isSpread: p.boolean().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
});
