import { bytes, duration, percent } from "../../ui/format.ts";

/** The built-in metrics in the order in which they are drawn, with their names for people. */
export const builtInMetrics: Readonly<Record<string, string>> = {
  battery_percent: "Battery",
  cpu_percent: "Processor",
  memory_percent: "Memory in use",
  storage_free_bytes: "Free storage",
  temperature_celsius: "Temperature",
  signal_dbm: "Signal",
};

/** Drawn from: its falls are the reboots. */
export const uptimeMetric = "uptime_seconds";

/** A metric's name for people; that of a custom one as the device calls it. */
export function metricName(metric: string): string {
  if (metric === uptimeMetric) return "Uptime";
  return builtInMetrics[metric] ?? metric.replace(/^metrics\./, "");
}

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
