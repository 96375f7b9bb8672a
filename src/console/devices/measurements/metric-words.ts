import { bytes, duration, percent } from "../../ui/format.ts";

/** Drawn from: its falls are the reboots. */
export const uptimeMetric = "uptime_seconds";

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
