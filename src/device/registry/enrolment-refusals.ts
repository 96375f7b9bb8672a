import { OtaError } from "../../errors.ts";

/** `ALREADY_EXISTS` for a serial number that is in service. */
export function duplicate(serialNumber: string): OtaError {
  return new OtaError(
    "already_exists",
    "DUPLICATE",
    `a device with the serial number ${serialNumber} is enrolled; an operator can reset its credential`,
    { metadata: { serial_number: serialNumber } },
  );
}

/** `UNAVAILABLE` for one that was retired while it was looked at. */
export function retiredMeanwhile(serialNumber: string): OtaError {
  return new OtaError(
    "unavailable",
    "DATABASE_UNAVAILABLE",
    `the device ${serialNumber} was retired at this moment; try again`,
    { retryAfterMs: 1_000 },
  );
}

/** `FAILED_PRECONDITION` for one that believes to be forgotten, and is not. */
export function deviceKnown(formerDeviceId: string): OtaError {
  return new OtaError(
    "failed_precondition",
    "DEVICE_KNOWN",
    `the device ${formerDeviceId} was not forgotten: its credential was taken away or exchanged; an operator lets it enrol again`,
    { metadata: { former_device_id: formerDeviceId } },
  );
}

/** `PERMISSION_DENIED` for one that must stay out. */
export function deviceRetired(serialNumber: string): OtaError {
  return new OtaError(
    "permission_denied",
    "DEVICE_RETIRED",
    `the device ${serialNumber} was retired; an operator can reinstate it`,
    { metadata: { serial_number: serialNumber } },
  );
}
