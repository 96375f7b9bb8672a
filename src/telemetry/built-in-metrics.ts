/** A reading that every heartbeat may hold, as a metric. */
export interface BuiltInMetric {
  /** Its name in the contract: the field of `Heartbeat`. */
  readonly name: string;
  readonly unit: string;
  /** The reading in device_heartbeats, null if the device did not send it. */
  readonly rawSql: string;
  /** What the columns of its roll-up begin with: `_min`, `_max`, `_sum`, `_n` and `_last`. */
  readonly column: string;
  /** The type of those columns but `_n` (integer, NULL for as many as there are heartbeats). */
  readonly type: "real" | "double precision";
}

/** The built-in metrics by name. */
export const builtInMetrics: readonly BuiltInMetric[] = [
  metric("battery_percent", "%", "battery"),
  metric("cpu_percent", "%", "cpu"),
  metric("memory_percent", "%", "memory"),
  metric("signal_dbm", "dBm", "signal"),
  metric("storage_free_bytes", "byte", "storage_free", "double precision"),
  metric("temperature_celsius", "°C", "temperature"),
  // A device that did not send its uptime has 0 stored.
  {
    ...metric("uptime_seconds", "s", "uptime", "double precision"),
    rawSql: "nullif(uptime_ms, 0)::float8 / 1000",
  },
];

/** What the names of custom metrics begin with, where they stand beside built-in ones. */
export const customPrefix = "metrics.";

function metric(
  name: string,
  unit: string,
  column: string,
  type: BuiltInMetric["type"] = "real",
): BuiltInMetric {
  return { name, unit, rawSql: name, column, type };
}
