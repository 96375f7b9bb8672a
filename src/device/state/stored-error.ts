import type { DeviceError } from "./heartbeat-record.ts";
import { type Severity, severities } from "./severity.ts";

/** An error that a device reported, as a heartbeat's row has it: one from before migration 0013 has the contract's number. */
export interface StoredErrorReport extends Omit<DeviceError, "severity"> {
  readonly severity: Severity | number;
}

/** An error from its row. */
export function storedError(stored: StoredErrorReport): DeviceError {
  const { severity } = stored;
  if (typeof severity !== "number") return { ...stored, severity };
  return { ...stored, severity: severities[severity] ?? "UNSPECIFIED" };
}
