import { percentText } from "../model/percent-text.ts";
import { isPinnedCanary, isSampled } from "../model/ring-place.ts";
import { versionOf } from "../model/version-of.ts";
import type { CompiledRollout } from "./compiled-rollout.ts";
import { productRule } from "./product-rule.ts";
import type { CheckedDevice, Rule } from "./rule.ts";
import { versionFacts } from "./version-facts.ts";

/** Whom a rollout is for: `RolloutTargeting`, and what the firmware fits. */
export const targetingRules: readonly Rule[] = [
  {
    name: "device_types",
    scope: "targeting",
    judge: (rollout, device) => (rollout.deviceTypes.has(device.deviceType) ? undefined : "NOT_TARGETED"),
    words: (rollout, { deviceType }, _facts, reason) => ({
      required: oneOf(rollout.deviceTypes),
      actual: deviceType,
      message: reason === undefined ? "The device's type is one of them." : "It is for other device types.",
    }),
  },
  {
    name: "hardware_models",
    scope: "targeting",
    judge: (rollout, device) =>
      rollout.hardwareModels === undefined || rollout.hardwareModels.has(device.hardwareModel)
        ? undefined
        : "NOT_TARGETED",
    words: (rollout, { hardwareModel }, _facts, reason) => ({
      required: rollout.hardwareModels === undefined ? "any" : oneOf(rollout.hardwareModels),
      actual: hardwareModel,
      message: reason === undefined ? "The device's model fits." : "It is for other hardware models.",
    }),
  },
  productRule,
  {
    name: "groups",
    scope: "targeting",
    judge: (rollout, device) =>
      rollout.groups === undefined || hasAny(device.groups, rollout.groups) ? undefined : "NOT_TARGETED",
    words: (rollout, { groups }, _facts, reason) => ({
      required: rollout.groups === undefined ? "any" : oneOf(rollout.groups),
      actual: listText(groups),
      message: reason === undefined ? "The device's groups fit." : "The device is in none of these groups.",
    }),
  },
  {
    name: "excluded_groups",
    scope: "targeting",
    judge: (rollout, device) =>
      rollout.excludedGroups !== undefined && hasAny(device.groups, rollout.excludedGroups)
        ? "NOT_TARGETED"
        : undefined,
    words: (rollout, { groups }, _facts, reason) => ({
      required: rollout.excludedGroups === undefined ? "none" : `not ${oneOf(rollout.excludedGroups)}`,
      actual: listText(groups),
      message:
        reason === undefined ? "The device is in no excluded group." : "The device is in an excluded group.",
    }),
  },
  {
    name: "tags",
    scope: "targeting",
    judge: (rollout, device) =>
      rollout.tags === undefined || hasAny(device.tags, rollout.tags) ? undefined : "NOT_TARGETED",
    words: (rollout, { tags }, _facts, reason) => ({
      required: rollout.tags === undefined ? "any" : oneOf(rollout.tags),
      actual: listText(tags),
      message: reason === undefined ? "The device's tags fit." : "The device has none of these tags.",
    }),
  },
  {
    name: "current_version_range",
    scope: "targeting",
    judge: (rollout, device) => {
      const { inRange, explained } = versionFacts(rollout, versionOf(device, rollout.component));
      if (inRange) return undefined;
      return explained ? "NOT_TARGETED" : "VERSION_UNKNOWN";
    },
    words: (rollout, device, _facts, reason) => ({
      required: rangeText(rollout),
      actual: reportedText(rollout, device),
      message:
        reason === undefined
          ? "The device's version fits."
          : reason === "VERSION_UNKNOWN"
            ? unknownVersionMessage(versionOf(device, rollout.component))
            : "The device's version lies outside of the range.",
    }),
  },
  {
    name: "filter",
    scope: "targeting",
    judge: (rollout, device, facts) =>
      rollout.filter === undefined || rollout.filter(device, facts.nowMs()) ? undefined : "NOT_TARGETED",
    words: (rollout, _device, _facts, reason) => ({
      required: rollout.rollout.targeting.filter || "none",
      actual: reason === undefined ? "matches" : "does not match",
      message: reason === undefined ? "The device matches the filter." : filterMessage(rollout),
    }),
  },
  {
    name: "percent",
    scope: "targeting",
    judge: (rollout, device) => (isSampled(rollout, device) ? undefined : "NOT_TARGETED"),
    words: (rollout, device, _facts, reason) => ({
      required: percentText(rollout.percentBasisPoints),
      actual: isPinnedCanary(rollout, device) ? "pinned to the first ring" : "by the hash of its id",
      message:
        reason === undefined
          ? "The device is in the share."
          : "The device is not in the share of the fleet that was chosen.",
    }),
  },
];

function rangeText({ rollout: { recalledVersion, targeting } }: CompiledRollout): string {
  if (recalledVersion !== undefined) return `${recalledVersion}, which is recalled`;
  return targeting.currentVersionRange || "any";
}

/** The version that a device reports in words, with the one that it stands for, or that it stands for none. */
export function reportedText(rollout: CompiledRollout, device: CheckedDevice): string {
  const text = versionOf(device, rollout.component);
  const version = rollout.reported.versionOf(text);
  if (text === "" || text === version) return versionText(text);
  return version === undefined ? `${text} (unknown)` : `${text} (${version})`;
}

/** Says of a version that nothing explains what would mend it. */
export function unknownVersionMessage(text: string): string {
  return `nothing explains the version ${JSON.stringify(text)} that the device reports: name it in the reported versions of the firmware that it is`;
}

/** The version of a device in words. */
export function versionText(version: string): string {
  return version === "" ? "none" : version;
}

function filterMessage({ unreadable }: CompiledRollout): string {
  return unreadable === undefined
    ? "The device does not match the filter."
    : `The rollout is for no device: ${unreadable}.`;
}

function hasAny(names: readonly string[], wanted: ReadonlySet<string>): boolean {
  for (const name of names) if (wanted.has(name)) return true;
  return false;
}

function oneOf(names: ReadonlySet<string>): string {
  return [...names].join(", ");
}

function listText(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
