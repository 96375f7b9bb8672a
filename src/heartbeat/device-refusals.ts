import { OtaError } from "../errors.ts";

/** FAILED_PRECONDITION: the device has counted on in a later epoch. */
export function staleEpoch(deviceId: string, currentEpoch: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "STALE_EPOCH",
    `the device has used epoch ${currentEpoch} since; an earlier one is over`,
    { metadata: { deviceId, epoch: String(currentEpoch) } },
  );
}

/** FAILED_PRECONDITION: the device counts from the beginning again, or has no numbers left, and must begin the next epoch for that. */
export function counterLost(deviceId: string, currentEpoch: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "STALE_EPOCH",
    `the counter of epoch ${currentEpoch} began again under another boot id, or is at its end; begin the next epoch`,
    { metadata: { deviceId, epoch: String(currentEpoch) } },
  );
}

/** ABORTED: a newer stream of the device took over. */
export function superseded(deviceId: string): OtaError {
  return new OtaError("aborted", "STREAM_SUPERSEDED", "a newer stream of this device took over", {
    metadata: { deviceId },
  });
}
