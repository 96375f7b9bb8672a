import { bytes, duration, percent } from "../../ui/format.ts";

/** Drawn from: its falls are the reboots. */
export const uptimeMetric = "uptime_seconds";

/** The built-in metrics that are drawn for who may not read which metrics there are. */
export const readingMetrics: readonly string[] = [
  "battery_percent",
  "cpu_percent",
  "memory_percent",
  "signal_dbm",
  "storage_free_bytes",
  "temperature_celsius",
];

/** A value with its unit. */
export function metricValue(value: number, unit: string): string {
  switch (unit) {
    case "%":
      return percent(Math.round(value * 10) / 10);
    case "byte":
      return bytes(value);
    case "s":
      return duration(value);
    case "°C":
    case "dBm":
      return `${Math.round(value * 10) / 10} ${unit}`;
    default:
      return `${numbers.format(value)}${unit === "" ? "" : ` ${unit}`}`;
  }
}

const numbers = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
