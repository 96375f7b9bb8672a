import semver from "semver";
import type { Firmware } from "../firmware/firmware.ts";
import type { Ring, Rollout } from "./rollout.ts";
import { makesOffers } from "./rollout-state.ts";

/** A rollout made ready for update checks: sets instead of lists, ranges and versions parsed once. */
export interface CompiledRollout {
  readonly id: string;
  readonly rollout: Rollout;
  readonly firmware: Firmware;
  readonly version: semver.SemVer;
  /** Whether it makes offers now; otherwise it only explains why there is none. */
  readonly offers: boolean;
  /** Why it makes none although it is running, in words; undefined if nothing stands against it. */
  readonly blocked: string | undefined;
  readonly deviceTypes: ReadonlySet<string>;
  /** Undefined: every model. */
  readonly hardwareModels: ReadonlySet<string> | undefined;
  /** Undefined: every group. */
  readonly groups: ReadonlySet<string> | undefined;
  readonly range: semver.Range | undefined;
  readonly minCurrentVersion: semver.SemVer | undefined;
  readonly rings: readonly Ring[];
  /** The verdict on each version that devices run, filled as they ask: a fleet runs few. Bounded. */
  readonly verdicts: Map<string, VersionVerdict>;
}

/** What a rollout has for a device that runs a certain version. */
export type VersionVerdict = "fits" | "not_newer" | "out_of_range" | "too_old";

/**
 * Makes a rollout ready. Device types and models are those of the firmware, narrowed by the targeting. `blocked` says why
 * the firmware itself must not be offered now, for example because its signing key was revoked.
 */
export function compileRollout(
  rollout: Rollout,
  firmware: Firmware,
  blocked: string | undefined,
): CompiledRollout {
  const { targeting } = rollout;
  return {
    id: rollout.id,
    rollout,
    firmware,
    version: new semver.SemVer(firmware.version),
    offers: makesOffers(rollout.state) && blocked === undefined,
    blocked,
    deviceTypes: new Set(narrowed(firmware.deviceTypes, targeting.deviceTypes)),
    hardwareModels: setOrAll(narrowedModels(firmware.hardwareModels, targeting.hardwareModels)),
    groups: targeting.groups.length === 0 ? undefined : new Set(targeting.groups),
    range:
      targeting.currentVersionRange === ""
        ? undefined
        : new semver.Range(targeting.currentVersionRange, { includePrerelease: true }),
    minCurrentVersion:
      firmware.minCurrentVersion === "" ? undefined : new semver.SemVer(firmware.minCurrentVersion),
    rings: rollout.rings,
    verdicts: new Map(),
  };
}

/**
 * Judges a version that a device runs; remembers the answer. A version that is no semantic version, or unknown, counts as
 * older than all and lies in no range, so that a device with an odd name for its factory image can be brought in.
 */
export function versionVerdict(compiled: CompiledRollout, version: string): VersionVerdict {
  const known = compiled.verdicts.get(version);
  if (known !== undefined) return known;
  const verdict = judgeVersion(compiled, version);
  // Devices may report anything: start again rather than grow.
  if (compiled.verdicts.size >= maxVerdicts) compiled.verdicts.clear();
  compiled.verdicts.set(version, verdict);
  return verdict;
}

/** Newest version first, then newest rollout: the order in which a device is offered what several rollouts have. */
export function byPreference(a: CompiledRollout, b: CompiledRollout): number {
  return semver.rcompare(a.version, b.version) || (a.id < b.id ? 1 : -1);
}

const maxVerdicts = 256;

function judgeVersion(compiled: CompiledRollout, text: string): VersionVerdict {
  const version = semver.parse(text);
  if (version !== null && semver.compare(version, compiled.version) >= 0) return "not_newer";
  const { range, minCurrentVersion } = compiled;
  if (range !== undefined && (version === null || !range.test(version))) return "out_of_range";
  if (minCurrentVersion === undefined) return "fits";
  return version === null || semver.lt(version, minCurrentVersion) ? "too_old" : "fits";
}

function narrowed(all: readonly string[], some: readonly string[]): readonly string[] {
  return some.length === 0 ? all : all.filter((each) => some.includes(each));
}

/** An empty list of models means every model; undefined stands for that here, so that "none is left" can be told. */
function narrowedModels(all: readonly string[], some: readonly string[]): readonly string[] | undefined {
  if (all.length === 0) return some.length === 0 ? undefined : some;
  return narrowed(all, some);
}

function setOrAll(names: readonly string[] | undefined): ReadonlySet<string> | undefined {
  return names === undefined ? undefined : new Set(names);
}
