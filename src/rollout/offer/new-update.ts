import type { OpenUpdate } from "../model/open-update.ts";
import { newUpdateId } from "../model/update-id.ts";
import { versionOf } from "../model/version-of.ts";
import type { CheckedDevice } from "../rules/rule.ts";
import type { OfferFound } from "./offer-decision.ts";

/** The first try of a device with what was found for it, as it begins; `after` is the update that gives way to it. */
export function newUpdate(
  device: CheckedDevice,
  { action, firmware, ring, rollout: { rollout } }: OfferFound,
  now: Date,
  after?: string,
): OpenUpdate {
  return {
    deviceId: device.id,
    id: newUpdateId(now, after),
    rolloutId: rollout.id,
    ringId: ring.id,
    firmwareId: firmware.id,
    action,
    component: firmware.component,
    securityCounter: firmware.securityCounter,
    state: "OFFERED",
    fromVersion: versionOf(device, firmware.component),
    toVersion: firmware.version,
    reportedVersions: firmware.reportedVersions,
    fromBootId: device.bootId,
    crashCount: 0,
    offeredAtMs: now.getTime(),
    installingAtMs: undefined,
    provenAtMs: undefined,
    deadlineAtMs: now.getTime() + rollout.policy.deviceTimeoutMs,
    taken: false,
    verificationMs: rollout.policy.verificationMs,
    crashLimit: rollout.policy.crashLimit,
    maxRetries: rollout.policy.maxRetries,
    retryBackoffMs: rollout.policy.retryBackoffMs,
    deviceTimeoutMs: rollout.policy.deviceTimeoutMs,
    returnMs: rollout.policy.returnMs,
    missingSinceMs: undefined,
    attempt: 1,
    notBeforeMs: undefined,
    watchedBootId: undefined,
  };
}
