/** Who says how often a sign of life of a device is expected. */
export type IntervalSource = "operator" | "device" | "device_type" | "setting";

/** How often a sign of life of a device is expected. */
export interface ExpectedInterval {
  /** Undefined: as often as the service's setting says. */
  readonly ms: number | undefined;
  readonly source: IntervalSource;
}

/** What an operator said of the device, what it says itself, and what an operator said of its type; in milliseconds. */
export interface SaidIntervals {
  readonly operatorMs: number | undefined;
  readonly deviceMs: number | undefined;
  readonly typeMs: number | undefined;
}

/** Which of them holds, as the SQL function `expected_interval_of` has it. */
export function expectedInterval({ operatorMs, deviceMs, typeMs }: SaidIntervals): ExpectedInterval {
  if (operatorMs !== undefined) return { ms: operatorMs, source: "operator" };
  if (deviceMs !== undefined) return { ms: deviceMs, source: "device" };
  if (typeMs !== undefined) return { ms: typeMs, source: "device_type" };
  return { ms: undefined, source: "setting" };
}

/** An interval in milliseconds as the audit log has it; empty if nothing is said. */
export function intervalText(ms: number | null): string {
  return ms === null ? "" : `${ms / 1_000}s`;
}
