import type { Identity } from "../call/identity.ts";
import { OtaError } from "../errors.ts";

/** The device that calls. Heartbeats are taken from devices only. */
export function callingDevice(identity: Identity): string {
  if (identity.kind === "device") return identity.deviceId;
  throw new OtaError("permission_denied", "ROLE_REQUIRED", "only devices send heartbeats");
}
