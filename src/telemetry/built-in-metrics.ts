import { columnTypes, readings } from "../device/state/readings.ts";
import { identifier, type Sql, sql } from "../infra/database/sql.ts";

/** A reading that every heartbeat may hold, as a metric. */
export interface BuiltInMetric {
  /** Its name in series. */
  readonly name: string;
  readonly unit: string;
  /** Its name for people. */
  readonly words: string;
  /** The reading in device_heartbeats, null if the device did not send it. */
  readonly rawSql: Sql;
  /** What the columns of its roll-up begin with: `_min`, `_max`, `_sum`, `_n` and `_last`. */
  readonly column: string;
  /** The type of those columns but `_n` (integer, NULL for as many as there are heartbeats). */
  readonly type: "real" | "double precision";
}

/** A device that did not send its uptime has 0 stored. */
const uptime: BuiltInMetric = {
  name: "uptime_seconds",
  unit: "s",
  words: "Uptime",
  rawSql: sql`nullif(uptime_ms, 0)::float8 / 1000`,
  column: "uptime",
  type: "double precision",
};

/** The built-in metrics by name. */
export const builtInMetrics: readonly BuiltInMetric[] = [...readings.flatMap(metricOf), uptime].sort(
  (a, b) => (a.name < b.name ? -1 : 1),
);

/** What the names of custom metrics begin with, where they stand beside built-in ones. */
export const customPrefix = "metrics.";

function metricOf({ name, column, kind, metric }: (typeof readings)[number]): BuiltInMetric[] {
  if (metric === undefined) return [];
  // A real holds all whole numbers that a smallint holds; larger ones need a double.
  const type = columnTypes[kind] === "bigint" ? "double precision" : "real";
  return [
    { name, unit: metric.unit, words: metric.words, rawSql: identifier(column), column: metric.rollup, type },
  ];
}
