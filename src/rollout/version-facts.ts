import semver from "semver";
import type { CompiledRollout, CompiledStep } from "./compiled-rollout.ts";

/** How a version that devices run stands to a rollout. */
export interface VersionFacts {
  /** -1 if it is older than what the rollout brings, 0 if it is the same, 1 if it is newer. */
  readonly order: -1 | 0 | 1;
  /** Whether the targeting lets it in. */
  readonly inRange: boolean;
  /** Whether it is older than the target may be installed from. */
  readonly tooOld: boolean;
  /** The mandatory steps above it and below the target, lowest first. */
  readonly steps: readonly CompiledStep[];
}

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
