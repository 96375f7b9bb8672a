import type { Identity } from "../../call/identity.ts";
import { notOffered } from "./update-offers.ts";

/** The id of the device that calls. */
export function callingDevice(identity: Identity): string {
  // The access rules let only devices come here.
  if (identity.kind !== "device") throw notOffered();
  return identity.deviceId;
}
