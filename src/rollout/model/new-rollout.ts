import semver from "semver";
import { parseDeviceFilter } from "../../device/filter/device-filter.ts";
import { type ModelNames, plainModels } from "../../device/filter/model-names.ts";
import { invalidArgument } from "../../errors.ts";
import type { Firmware } from "../../firmware/firmware.ts";
import {
  fillDefaults,
  type Given,
  type MaintenanceWindow,
  type SettingDefaults,
} from "../../policy/field.ts";
import { defaultRings, gateFields } from "../../policy/gate-fields.ts";
import { policyFields } from "../../policy/policy-fields.ts";
import type { StoredGate } from "./deployment-ring.entity.ts";
import type { Metadata, StoredPolicy, StoredTargeting } from "./rollout.entity.ts";
import type { Rollout } from "./rollout.ts";
import { noCounts, ringCounters, rollbackCounters } from "./rollout-counters.ts";

/** A rollout as an operator wants it; what is undefined or empty takes its default. */
export interface NewRollout {
  readonly firmwareId: string;
  /** By default product and version. */
  readonly name: string;
  readonly targeting: NewTargeting;
  readonly policy: NewPolicy;
  /** By default canary 5 %, early 25 %, broad 75 %, production 100 %. */
  readonly rings: readonly NewRing[];
  /** What its rings are told by: a UUID that no other rollout has. By default its own id. */
  readonly salt?: string | undefined;
  readonly metadata?: Metadata | undefined;
  /** The recall whose way out it is to be. */
  readonly recall?: { readonly id: string; readonly version: string } | undefined;
}

/** See the contract's RolloutTargeting; what is absent leaves nothing out. */
export interface NewTargeting extends Partial<Omit<StoredTargeting, "percentBasisPoints">> {
  readonly percent?: number | undefined;
}

/** See the contract's RolloutPolicy. */
export type NewPolicy = Given<typeof policyFields>;

/** See the contract's RingSpec. */
export interface NewRing {
  readonly name: string;
  /** 0 if it is to hold so many devices. */
  readonly percent: number;
  /** How many devices it is to hold with those before it, instead of a share. */
  readonly devices?: number | undefined;
  readonly gate?: Given<typeof gateFields> | undefined;
  readonly metadata?: Metadata | undefined;
}

/** What the operator of the service set for all rollouts. */
export type RolloutDefaults = SettingDefaults<typeof policyFields>;

/** A ring with everything filled in. */
export interface PlannedRing {
  readonly name: string;
  /** 0 for a ring of so many devices, until they are counted. */
  readonly percentBasisPoints: number;
  readonly deviceTarget: number | undefined;
  readonly gate: StoredGate;
  readonly metadata: Metadata;
}

/** Targeting that leaves nothing out. */
export const everyDevice: Readonly<StoredTargeting> = {
  deviceTypes: [],
  hardwareModels: [],
  groups: [],
  currentVersionRange: "",
  tags: [],
  filter: "",
  excludedGroups: [],
  canaryGroups: [],
  percentBasisPoints: 10_000,
};

/**
 * The rings with their defaults. `INVALID_ARGUMENT` unless names are unique, shares rise, with at most two decimals, and numbers of
 * devices rise; how shares and numbers stand to each other shows when the devices are counted.
 * The last ring need not reach 100 %: a rollout may be meant for a part of the fleet.
 */
export function planRings(rings: readonly NewRing[]): PlannedRing[] {
  const wanted: readonly NewRing[] = rings.length === 0 ? defaultRings : rings;
  const names = new Set<string>();
  let last = 0;
  let lastDevices = 0;
  return wanted.map(({ name, percent, devices = 0, gate, metadata = {} }, at) => {
    if (names.has(name)) throw invalidArgument(`rings[${at}].name`, `there is a ring ${name} already`);
    names.add(name);
    if (devices > 0) {
      if (percent > 0) throw invalidArgument(`rings[${at}].devices`, "cannot come together with percent");
      if (devices <= lastDevices)
        throw invalidArgument(`rings[${at}].devices`, "must rise from ring to ring");
      lastDevices = devices;
      return { name, percentBasisPoints: 0, deviceTarget: devices, gate: planGate(gate), metadata };
    }
    const percentBasisPoints = basisPoints(`rings[${at}].percent`, percent);
    if (percentBasisPoints <= last) {
      throw invalidArgument(`rings[${at}].percent`, "must rise from ring to ring");
    }
    last = percentBasisPoints;
    return { name, percentBasisPoints, deviceTarget: undefined, gate: planGate(gate), metadata };
  });
}

/** The policy with its defaults. `INVALID_ARGUMENT` for a window in a time zone that nobody knows. */
export function planPolicy(policy: NewPolicy, defaults: RolloutDefaults): StoredPolicy {
  const filled = fillDefaults(policyFields, policy, defaults);
  return { ...filled, maintenanceWindows: filled.maintenanceWindows.map(planWindow) };
}

/** The gate with its defaults. */
export function planGate(gate: Given<typeof gateFields> = {}): StoredGate {
  return fillDefaults(gateFields, gate, {});
}

/** The targeting with its defaults. `INVALID_ARGUMENT` for a share with more than two decimals. */
export function planTargeting({ percent, ...given }: NewTargeting): StoredTargeting {
  return {
    ...everyDevice,
    ...given,
    percentBasisPoints: percent === undefined ? 10_000 : basisPoints("targeting.percent", percent),
  };
}

/** Checks that a rollout of this firmware can reach a device at all. `INVALID_ARGUMENT`, or `INVALID_FILTER` for the filter. */
export function assertTargeting(
  targeting: Readonly<StoredTargeting>,
  firmware: Firmware,
  models: ModelNames,
): void {
  const { currentVersionRange: range, deviceTypes, hardwareModels } = targeting;
  if (range !== "" && semver.validRange(range) === null) {
    throw invalidArgument(
      "targeting.current_version_range",
      `"${range}" is not a range, such as ">=1.2.0 <2.0.0"`,
    );
  }
  parseDeviceFilter(targeting.filter, "targeting.filter");
  assertOverlap("targeting.device_types", deviceTypes, firmware.deviceTypes);
  assertOverlap("targeting.hardware_models", hardwareModels, models.allOf(firmware.hardwareModels));
}

/**
 * What a rollout would be if it were created, in DRAFT, with the errors of its creation. Its salt, which tells which device falls in which ring,
 * is that of the wish, or else its id.
 */
export function asRollout(
  id: string,
  wanted: NewRollout,
  firmware: Firmware,
  defaults: RolloutDefaults,
  now: Date,
  models: ModelNames = plainModels,
): Rollout {
  const rings = planRings(wanted.rings);
  const targeting = planTargeting(wanted.targeting);
  assertTargeting(targeting, firmware, models);
  return {
    id,
    salt: wanted.salt ?? id,
    name: wanted.name || `${firmware.product} ${firmware.version}`,
    firmwareId: firmware.id,
    product: firmware.product,
    version: firmware.version,
    kind: firmware.kind,
    component: firmware.component,
    creator: "",
    alert: "",
    contentDamaged: firmware.damagedAt !== undefined,
    missingVersions: [],
    state: "DRAFT",
    stateReason: "",
    targeting,
    policy: planPolicy(wanted.policy, defaults),
    rings: rings.map((ring, position) => ({
      ...ring,
      id: ring.name,
      position,
      askedBasisPoints: undefined,
      state: "WAITING",
      counters: noCounts(ringCounters),
      census: undefined,
      openedAt: undefined,
      gateHeldSince: undefined,
      passedAt: undefined,
      approver: "",
      approvedAt: undefined,
      keys: [],
    })),
    rollback: { ...noCounts(rollbackCounters), waiting: 0 },
    rollbackPlan: undefined,
    metadata: wanted.metadata ?? {},
    recalledVersion: wanted.recall?.version,
    archivedAt: undefined,
    revision: 0,
    createdAt: now,
    updatedAt: now,
    startedAt: undefined,
    endedAt: undefined,
  };
}

/** Percent times 100 is rarely an exact integer in binary. */
const decimalSlack = 1e-6;

/** Of 10,000. */
function basisPoints(field: string, percent: number): number {
  const rounded = Math.round(percent * 100);
  if (Math.abs(rounded - percent * 100) > decimalSlack) {
    throw invalidArgument(field, "may have two decimals at most");
  }
  if (rounded === 0) throw invalidArgument(field, "must be at least 0.01");
  return rounded;
}

function planWindow(window: MaintenanceWindow, at: number): MaintenanceWindow {
  if (window.timeZone !== "" && !isTimeZone(window.timeZone)) {
    throw invalidArgument(
      `policy.maintenance_windows[${at}].time_zone`,
      `"${window.timeZone}" is not the IANA name of a time zone, such as "Europe/Berlin"`,
    );
  }
  return { ...window, weekdays: window.weekdays.toSorted((a, b) => a - b) };
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function assertOverlap(field: string, wanted: readonly string[], fits: readonly string[]): void {
  if (wanted.length === 0 || fits.length === 0 || wanted.some((each) => fits.includes(each))) return;
  throw invalidArgument(field, `the firmware is for ${fits.join(", ")} only`);
}
