import { Range } from "semver";
import { parseDeviceFilter } from "../../device/filter/device-filter.ts";
import { compileFilterPredicate, type DevicePredicate } from "../../device/filter/filter-predicate.ts";
import { type ModelNames, plainModels } from "../../device/filter/model-names.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import { MaintenanceSchedule } from "../../schedule/maintenance-schedule.ts";
import { compareVersions } from "../../version/compare-versions.ts";
import { ReportedVersions } from "../../version/reported-versions.ts";
import { canarySet, type RingPlan } from "../model/ring-place.ts";
import type { Rollout } from "../model/rollout.ts";
import { makesOffers } from "../model/rollout-state.ts";
import { ProductBook } from "./product-book.ts";

/** A firmware as it may be handed to devices. */
export interface OfferFirmware {
  readonly firmware: Firmware;
  /** Why it must not be handed out now, in words. */
  readonly blocked: string | undefined;
  /** Whether that is for its stored content alone: it is given again once it is mended, and open updates wait for that. */
  readonly awaitsRepair?: boolean | undefined;
  /** Why its signatures do not suffice, in words, whatever else bars it. */
  readonly unsigned?: string | undefined;
}

/** How a version that devices run stands to a rollout. */
export interface VersionFacts {
  /** Whether the text is a semantic version, or stands for one, or nothing was told at all. */
  readonly explained: boolean;
  /** -1 if it is older than what the rollout brings, 0 if it is the same, 1 if it is newer. */
  readonly order: -1 | 0 | 1;
  /** Whether the targeting lets it in. */
  readonly inRange: boolean;
  /** Whether it is older than the target may be installed from. */
  readonly tooOld: boolean;
  /** The mandatory steps above it and below the target, lowest first. */
  readonly steps: readonly OfferFirmware[];
}

/** A rollout made ready for update checks: sets instead of lists, filters, ranges and versions parsed once. */
export interface CompiledRollout extends RingPlan, OfferFirmware {
  readonly id: string;
  readonly rollout: Rollout;
  /** The application that it updates; empty for firmware. */
  readonly component: string;
  /** Whether its state makes offers. */
  readonly offers: boolean;
  readonly deviceTypes: ReadonlySet<string>;
  /** Undefined: every model. */
  readonly hardwareModels: ReadonlySet<string> | undefined;
  /** Undefined: every group. */
  readonly groups: ReadonlySet<string> | undefined;
  /** Undefined: none. */
  readonly excludedGroups: ReadonlySet<string> | undefined;
  /** Undefined: devices need none. */
  readonly tags: ReadonlySet<string> | undefined;
  /** Undefined: every device. */
  readonly filter: DevicePredicate | undefined;
  readonly range: Range | undefined;
  /**
   * What of the stored rollout cannot be read, in words, for example because the service's new version no longer knows a
   * field of its filter: then it is for no device. Undefined: nothing.
   */
  readonly unreadable: string | undefined;
  /** Which products devices run. */
  readonly products: ProductBook;
  readonly windows: MaintenanceSchedule;
  /** Mandatory steps below its version, lowest first. */
  readonly steps: readonly OfferFirmware[];
  /** What the texts that devices of its product report stand for. */
  readonly reported: ReportedVersions;
  /** Rollouts that go before this one where they want a device: see {@link inPreference}. */
  outrankedBy: readonly CompiledRollout[];
  /** What is known of the versions that devices run, filled as they ask: a fleet runs few. Bounded. */
  readonly versions: Map<string, VersionFacts>;
}

/** What a rollout is compiled with. */
export interface CompileOptions {
  /** Decides who is online, for filters. */
  readonly heartbeatIntervalMs: number;
  /** Every mandatory step of the firmware's product and component. */
  readonly steps?: readonly OfferFirmware[] | undefined;
  /** What the texts that devices of the firmware's product report stand for; by default those of this firmware alone. */
  readonly reported?: ReportedVersions | undefined;
  /** Which products devices run, as the catalogue tells; without it only what devices or operators said counts. */
  readonly products?: ProductBook | undefined;
  /** The names that hardware models have. The firmware comes with all of them: see {@link withModelNames}. */
  readonly models?: ModelNames | undefined;
}

/** A firmware that names its hardware models by all the names that they have. */
export function withModelNames<F extends { readonly hardwareModels: readonly string[] }>(
  firmware: F,
  models: ModelNames,
): F {
  const hardwareModels = models.allOf(firmware.hardwareModels);
  return hardwareModels === firmware.hardwareModels ? firmware : { ...firmware, hardwareModels };
}

/**
 * Makes a rollout ready. Device types and models are those of the firmware, narrowed by the targeting. `blocked` says why
 * the firmware itself must not be offered now, for example because its signing key was revoked. Never throws for what was
 * stored: see {@link CompiledRollout.unreadable}.
 */
export function compileRollout(
  rollout: Rollout,
  { firmware, blocked }: OfferFirmware,
  {
    heartbeatIntervalMs,
    steps = [],
    reported = new ReportedVersions([firmware]),
    products = new ProductBook([]),
    models = plainModels,
  }: CompileOptions,
): CompiledRollout {
  const { targeting, policy } = rollout;
  let unreadable: string | undefined;
  const read = <T>(what: string, parse: () => T, otherwise: T): T => {
    try {
      return parse();
    } catch (error) {
      unreadable ??= `its ${what} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      return otherwise;
    }
  };
  const filter = read("filter", () => parsedFilter(targeting.filter, heartbeatIntervalMs, models), undefined);
  const range = read("version range", () => parsedRange(targeting.currentVersionRange), undefined);
  return {
    id: rollout.id,
    salt: rollout.salt,
    rollout,
    firmware,
    blocked,
    component: firmware.component,
    offers: makesOffers(rollout.state),
    deviceTypes: new Set(narrowed(firmware.deviceTypes, targeting.deviceTypes)),
    hardwareModels: modelSet(firmware.hardwareModels, models.allOf(targeting.hardwareModels)),
    groups: setOf(targeting.groups),
    excludedGroups: setOf(targeting.excludedGroups),
    tags: setOf(targeting.tags),
    canaryGroups: canarySet(targeting),
    percentBasisPoints: targeting.percentBasisPoints,
    // Whom it was for nobody knows.
    filter: unreadable === undefined ? filter : () => false,
    range,
    unreadable,
    products,
    windows: new MaintenanceSchedule(policy.maintenanceWindows),
    rings: rollout.rings,
    steps: steps
      .filter((step) => compareVersions(step.firmware.version, firmware.version) < 0)
      .sort((a, b) => compareVersions(a.firmware.version, b.firmware.version)),
    reported,
    outrankedBy: [],
    versions: new Map(),
  };
}

function parsedFilter(
  text: string,
  heartbeatIntervalMs: number,
  models: ModelNames,
): DevicePredicate | undefined {
  if (text.trim() === "") return undefined;
  return compileFilterPredicate(parseDeviceFilter(text, "targeting.filter"), { heartbeatIntervalMs, models });
}

function parsedRange(text: string): Range | undefined {
  return text === "" ? undefined : new Range(text, { includePrerelease: true });
}

function narrowed(all: readonly string[], some: readonly string[]): readonly string[] {
  return some.length === 0 ? all : all.filter((each) => some.includes(each));
}

/** An empty list of models means every model; undefined stands for that here, so that "none is left" can be told. */
function modelSet(all: readonly string[], some: readonly string[]): ReadonlySet<string> | undefined {
  if (all.length === 0) return setOf(some);
  return new Set(narrowed(all, some));
}

function setOf(names: readonly string[]): ReadonlySet<string> | undefined {
  return names.length === 0 ? undefined : new Set(names);
}
