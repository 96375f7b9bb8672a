import type { Firmware } from "../firmware/firmware.ts";
import { bucketOf, ringOf } from "./bucket.ts";
import { type CompiledRollout, versionVerdict } from "./compiled-rollout.ts";
import { isReached } from "./ring-state.ts";
import type { Ring } from "./rollout.ts";

/** Why there is no offer; see the contract's NoOfferReason. */
export type NoOfferReason =
  | "UP_TO_DATE"
  | "RING_NOT_OPEN"
  | "BATTERY_TOO_LOW"
  | "STORAGE_TOO_LOW"
  | "VERSION_TOO_OLD"
  | "TOO_MANY_IN_PROGRESS"
  | "ROLLOUT_PAUSED"
  | "ALREADY_TRIED"
  | "SECURITY_COUNTER";

/** A device as an update check sees it: what the registry knows, with the check's own readings before the stored ones. */
export interface CheckedDevice {
  readonly id: string;
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly groups: readonly string[];
  readonly firmwareVersion: string;
  readonly bootId: string;
  readonly securityCounter: number;
  /** Undefined if it never said. */
  readonly batteryPercent?: number | undefined;
  readonly charging?: boolean | undefined;
  readonly storageFreeBytes?: number | undefined;
}

/** What is found for a device: an update to offer, or why there is none. */
export type OfferDecision =
  | { readonly kind: "offer"; readonly rollout: CompiledRollout; readonly ring: Ring }
  | NoOffer;

/** There is no offer. */
export interface NoOffer {
  readonly kind: "none";
  readonly reason: NoOfferReason;
  /** In words. */
  readonly message: string;
}

/** What the decision needs to know beside the device and the rollouts; answered from memory. */
export interface OfferFacts {
  /** Whether the device has had this rollout's update before. "No" may be wrong: the database has the last word. */
  wasTried(rolloutId: string, deviceId: string): boolean;
  /** How many devices are at a rollout's update now. */
  inProgress(rolloutId: string): number;
}

/**
 * Decides what a device without an open update is offered. Pure but for `facts`, and free of parsing: a check that finds
 * nothing costs some map lookups a rollout.
 *
 * Rollouts come newest version first. One that does not want the device, or cannot serve it (ring, pause, tried before,
 * version too old, security counter), leaves it to the next one; if none has anything, the first reason met is given. One
 * that wants it but must wait for it (battery, storage, too many in progress) keeps it: an older version in between would
 * only be undone. An install never goes to an older or the same version by semver.
 */
export function decideOffer(
  device: CheckedDevice,
  rollouts: readonly CompiledRollout[],
  facts: OfferFacts,
): OfferDecision {
  let first: NoOffer | undefined;
  for (const rollout of rollouts) {
    const verdict = versionVerdict(rollout, device.firmwareVersion);
    if (verdict === "not_newer" || verdict === "out_of_range" || !isTargeted(rollout, device)) continue;
    const answer = judge(rollout, device, verdict === "too_old", facts);
    if (answer.kind === "offer" || keeps.has(answer.reason)) return answer;
    first ??= answer;
  }
  return first ?? upToDate;
}

/**
 * Why a device should not install a firmware now: its charge (unless external power is connected) or its free storage.
 * A reading that the device never gave stands against nothing; the device checks again itself.
 */
export function unmetPrecondition(
  firmware: Pick<Firmware, "minBatteryPercent" | "minFreeStorageBytes">,
  device: CheckedDevice,
): NoOffer | undefined {
  const { batteryPercent, charging, storageFreeBytes } = device;
  const { minBatteryPercent, minFreeStorageBytes } = firmware;
  if (charging !== true && batteryPercent !== undefined && batteryPercent < minBatteryPercent) {
    return none(
      "BATTERY_TOO_LOW",
      `the charge is ${batteryPercent} %, ${minBatteryPercent} % or external power is needed`,
    );
  }
  if (storageFreeBytes !== undefined && storageFreeBytes < minFreeStorageBytes) {
    return none("STORAGE_TOO_LOW", `${storageFreeBytes} bytes are free, ${minFreeStorageBytes} are needed`);
  }
  return undefined;
}

/** There is no offer, for this reason. */
export function none(reason: NoOfferReason, message: string): NoOffer {
  return { kind: "none", reason, message };
}

const keeps: ReadonlySet<NoOfferReason> = new Set([
  "BATTERY_TOO_LOW",
  "STORAGE_TOO_LOW",
  "TOO_MANY_IN_PROGRESS",
]);

const upToDate = none("UP_TO_DATE", "no rollout has anything newer for this device");

function isTargeted(rollout: CompiledRollout, device: CheckedDevice): boolean {
  if (!rollout.deviceTypes.has(device.deviceType)) return false;
  if (rollout.hardwareModels !== undefined && !rollout.hardwareModels.has(device.hardwareModel)) return false;
  const { groups } = rollout;
  return groups === undefined || device.groups.some((group) => groups.has(group));
}

function judge(
  compiled: CompiledRollout,
  device: CheckedDevice,
  tooOld: boolean,
  facts: OfferFacts,
): OfferDecision {
  const { firmware, rollout } = compiled;
  const { rings } = compiled;
  const ring = rings[ringOf(bucketOf(compiled.id, device.id), rings)];
  if (ring === undefined || !isReached(ring.state)) {
    const which =
      ring === undefined ? "lies beyond the last ring" : `is in ring ${ring.name}, which is not open yet`;
    return none("RING_NOT_OPEN", `the device ${which} (rollout ${rollout.name})`);
  }
  if (!compiled.offers) {
    return none("ROLLOUT_PAUSED", `rollout ${rollout.name}: ${compiled.blocked ?? "paused"}`);
  }
  if (facts.wasTried(compiled.id, device.id)) {
    return none("ALREADY_TRIED", `the device had ${firmware.version} by rollout ${rollout.name} before`);
  }
  if (tooOld) {
    return none(
      "VERSION_TOO_OLD",
      `${firmware.version} installs from ${firmware.minCurrentVersion} on, the device runs ${device.firmwareVersion}`,
    );
  }
  if (firmware.securityCounter < device.securityCounter) {
    return none(
      "SECURITY_COUNTER",
      `the security counter of ${firmware.version} is ${firmware.securityCounter}, the device's is ${device.securityCounter}`,
    );
  }
  const unmet = unmetPrecondition(firmware, device);
  if (unmet !== undefined) return unmet;
  const limit = rollout.policy.maxInProgress;
  if (limit !== null && facts.inProgress(compiled.id) >= limit) return tooManyInProgress(limit);
  return { kind: "offer", rollout: compiled, ring };
}

/** As many devices as may are at the update. */
export function tooManyInProgress(limit: number): NoOffer {
  return none("TOO_MANY_IN_PROGRESS", `${limit} devices are at the update, which is as many as may`);
}
