import { compareVersions } from "../../version/compare-versions.ts";
import { versionIdentity } from "../../version/version-key.ts";
import type { CompiledRollout, OfferFirmware, VersionFacts } from "./compiled-rollout.ts";

/**
 * Judges a version; remembers the answer. A text that is no semantic version and stands for none, or is unknown, counts as older
 * than all and lies in no range, so that a device with an odd name for its factory image can be brought in.
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
  const version = rollout.reported.versionOf(text);
  const { firmware } = rollout;
  const { recalledVersion } = rollout.rollout;
  const order = version === undefined ? -1 : compareVersions(version, firmware.version);
  return {
    // A text that nothing explains is the recalled one, or it is not.
    explained: version !== undefined || text === "" || recalledVersion !== undefined,
    order: order < 0 ? -1 : order > 0 ? 1 : 0,
    inRange:
      recalledVersion === undefined
        ? isInRange(rollout, version)
        : isReported(rollout, text, recalledVersion),
    tooOld: isTooOldFor(firmware.minCurrentVersion, version),
    // A device that is taken down passes no steps.
    steps:
      order >= 0
        ? none
        : rollout.steps.filter(
            (step) => version === undefined || compareVersions(step.firmware.version, version) > 0,
          ),
  };
}

function isInRange({ range }: CompiledRollout, version: string | undefined): boolean {
  return range === undefined || (version !== undefined && range.test(version));
}

/** Whether two texts that devices report stand for the same version. */
function isReported({ reported }: CompiledRollout, text: string, other: string): boolean {
  if (text === "") return false;
  const identity = (each: string): string => versionIdentity(reported.versionOf(each) ?? each);
  return identity(text) === identity(other);
}

/** Whether a version, undefined if it is not known, lies below the one that must run; empty means that any may. */
export function isTooOldFor(minCurrentVersion: string, version: string | undefined): boolean {
  if (minCurrentVersion === "") return false;
  return version === undefined || compareVersions(version, minCurrentVersion) < 0;
}

const none: readonly OfferFirmware[] = [];
