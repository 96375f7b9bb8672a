import semver from "semver";
import type { CompiledRollout, CompiledStep, VersionFacts } from "./compiled-rollout.ts";

/**
 * Judges a version; remembers the answer. A version that is no semantic version, or unknown, counts as older than all and
 * lies in no range, so that a device with an odd name for its factory image can be brought in.
 */
export function versionFacts(rollout: CompiledRollout, version: string): VersionFacts {
  const known = rollout.versions.get(version);
  if (known !== undefined) return known;
  const facts = judge(rollout, version);
  // Devices may report anything: start again rather than grow.
  if (rollout.versions.size >= maxVersions) rollout.versions.clear();
  rollout.versions.set(version, facts);
  return facts;
}

const maxVersions = 256;

function judge(rollout: CompiledRollout, text: string): VersionFacts {
  const version = semver.parse(text);
  const { range, minCurrentVersion } = rollout;
  const order = version === null ? -1 : semver.compare(version, rollout.version);
  return {
    order,
    inRange: range === undefined || (version !== null && range.test(version)),
    tooOld: minCurrentVersion !== undefined && (version === null || semver.lt(version, minCurrentVersion)),
    // A device that is taken down passes no steps.
    steps:
      order >= 0
        ? none
        : rollout.steps.filter((step) => version === null || semver.gt(step.version, version)),
  };
}

const none: readonly CompiledStep[] = [];
