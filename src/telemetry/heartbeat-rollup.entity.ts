import { defineEntity, p } from "@mikro-orm/core";
import { instant } from "../infra/database/columns.ts";
import { builtInMetrics } from "./built-in-metrics.ts";

/** What a roll-up keeps of a custom metric: lowest, highest, sum, number and newest of its values. */
type CustomRollup = [min: number, max: number, sum: number, n: number, last: number];

/**
 * A device's heartbeats within five minutes. Partitioned by day of `bucket`, when the five minutes begin; the migration
 * says so. Written by SQL alone.
 */
export const FiveMinuteRollupEntity = defineEntity({
  name: "FiveMinuteRollup",
  tableName: "heartbeat_rollups_5m",
  properties: rollupProperties(),
});

/** A device's heartbeats within an hour. Partitioned by week. */
export const OneHourRollupEntity = defineEntity({
  name: "OneHourRollup",
  tableName: "heartbeat_rollups_1h",
  properties: rollupProperties(),
});

function rollupProperties() {
  const metrics = builtInMetrics.map(({ column, type }) => {
    const value = () => (type === "real" ? p.float() : p.double());
    return {
      [`${column}Sum`]: value().fieldName(`${column}_sum`).strictNullable(),
      [`${column}Min`]: value().fieldName(`${column}_min`).strictNullable(),
      [`${column}Max`]: value().fieldName(`${column}_max`).strictNullable(),
      [`${column}Last`]: value().fieldName(`${column}_last`).strictNullable(),
      // Of how many heartbeats; null stands for all of them.
      [`${column}N`]: p.integer().fieldName(`${column}_n`).strictNullable(),
    };
  });
  return {
    bucket: instant().primary(),
    deviceId: p.uuid().primary(),
    /** When the newest of the heartbeats came. */
    lastReceivedAt: instant(),
    /** How many heartbeats there were. */
    count: p.integer(),
    ...(Object.assign({}, ...metrics) as Record<string, never>),
    metrics: p.json<Record<string, CustomRollup>>().strictNullable(),
  };
}
