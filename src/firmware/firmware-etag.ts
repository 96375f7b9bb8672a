import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import { OtaError } from "../errors.ts";
import type { Firmware } from "./firmware.ts";

/** What of a firmware can be changed once it is described. */
type Changeable = Pick<
  Firmware,
  | "id"
  | "state"
  | "releaseNotes"
  | "minBatteryPercent"
  | "minFreeStorageBytes"
  | "minCurrentVersion"
  | "metadata"
  | "deviceTypes"
  | "hardwareModels"
  | "mandatoryStep"
  | "reportedVersions"
>;

/** A text that changes with what can be changed of a firmware (AIP-154): the same again is the same text. */
export function firmwareEtag(firmware: Changeable): string {
  const { id, state, releaseNotes, minBatteryPercent, minFreeStorageBytes, minCurrentVersion } = firmware;
  const { metadata, deviceTypes, hardwareModels, mandatoryStep, reportedVersions } = firmware;
  const content = {
    id,
    state,
    releaseNotes,
    minBatteryPercent,
    minFreeStorageBytes: Number(minFreeStorageBytes),
    minCurrentVersion,
    metadata,
    deviceTypes,
    hardwareModels,
    mandatoryStep,
    reportedVersions,
  };
  return createHash("sha256").update(stringify(content)).digest("base64url").slice(0, etagLength);
}

/** Throws `ETAG_MISMATCH` if a firmware has another etag than its caller has seen; undefined is any. */
export function requireEtag(firmware: Changeable, seen: string | undefined): void {
  if (seen === undefined || seen === firmwareEtag(firmware)) return;
  throw new OtaError("aborted", "ETAG_MISMATCH", "the firmware changed meanwhile; read it again", {
    metadata: { id: firmware.id },
  });
}

/** 96 bits. */
const etagLength = 16;
