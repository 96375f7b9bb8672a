import semver from "semver";
import { invalidArgument } from "../errors.ts";
import type { Firmware } from "../firmware/firmware.ts";
import type { StoredGate } from "./deployment-ring.entity.ts";
import type { StoredPolicy, StoredTargeting } from "./rollout.entity.ts";

/** A rollout as an operator wants it; what is undefined or empty takes its default. */
export interface NewRollout {
  readonly firmwareId: string;
  /** By default product and version. */
  readonly name: string;
  readonly targeting: Readonly<StoredTargeting>;
  readonly policy: NewPolicy;
  /** By default canary 5 %, early 25 %, broad 75 %, production 100 %. */
  readonly rings: readonly NewRing[];
}

/** See the contract's RolloutPolicy. */
export interface NewPolicy {
  readonly failureThresholdPercent?: number | undefined;
  readonly failureMinSample?: number | undefined;
  readonly failureCountLimit?: number | undefined;
  readonly verificationMs?: number | undefined;
  readonly deviceTimeoutMs?: number | undefined;
  readonly crashLimit?: number | undefined;
  readonly maxInProgress?: number | undefined;
  readonly pauseOnFailure: boolean;
}

/** See the contract's RingSpec. */
export interface NewRing {
  readonly name: string;
  readonly percent: number;
  readonly gate?: NewGate | undefined;
}

/** See the contract's RingGate, whose defaults hold for what is not given. */
interface NewGate {
  readonly minSample?: number | undefined;
  readonly minSuccessPercent?: number | undefined;
  readonly soakMs?: number | undefined;
  readonly manual: boolean;
}

/** What the operator of the service set for all rollouts. */
export interface RolloutDefaults {
  /** Above this share of failed devices, in percent, a rollout is taken back. */
  readonly failureThresholdPercent: number;
  /** How long a device may take from offer to proof. */
  readonly deviceTimeoutMs: number;
}

/** A ring with everything filled in. */
export interface PlannedRing {
  readonly name: string;
  readonly percentBasisPoints: number;
  readonly gate: StoredGate;
}

/** The rings of a rollout that names none. */
const defaultRings: readonly NewRing[] = [
  { name: "canary", percent: 5 },
  { name: "early", percent: 25 },
  { name: "broad", percent: 75 },
  { name: "production", percent: 100 },
];

/** The gate of a ring that says nothing of its gate. */
const defaultGate: Readonly<StoredGate> = {
  minSample: 1,
  minSuccessPercent: 90,
  soakMs: 10 * 60_000,
  manual: false,
};

/**
 * The rings with their defaults. `INVALID_ARGUMENT` unless names are unique and shares rise, with at most two decimals.
 * The last ring need not reach 100 %: a rollout may be meant for a part of the fleet.
 */
export function planRings(rings: readonly NewRing[]): PlannedRing[] {
  const wanted = rings.length === 0 ? defaultRings : rings;
  const names = new Set<string>();
  let last = 0;
  return wanted.map(({ name, percent, gate }, at) => {
    if (names.has(name)) throw invalidArgument(`rings[${at}].name`, `there is a ring ${name} already`);
    names.add(name);
    const percentBasisPoints = Math.round(percent * 100);
    if (Math.abs(percentBasisPoints - percent * 100) > decimalSlack) {
      throw invalidArgument(`rings[${at}].percent`, "may have two decimals at most");
    }
    if (percentBasisPoints <= last) {
      throw invalidArgument(`rings[${at}].percent`, "must rise from ring to ring");
    }
    last = percentBasisPoints;
    return { name, percentBasisPoints, gate: planGate(gate) };
  });
}

/** The policy with its defaults. */
export function planPolicy(policy: NewPolicy, defaults: RolloutDefaults): StoredPolicy {
  return {
    failureThresholdPercent: policy.failureThresholdPercent ?? defaults.failureThresholdPercent,
    failureMinSample: policy.failureMinSample ?? 5,
    failureCountLimit: policy.failureCountLimit ?? null,
    verificationMs: policy.verificationMs ?? 5 * 60_000,
    deviceTimeoutMs: policy.deviceTimeoutMs ?? defaults.deviceTimeoutMs,
    crashLimit: policy.crashLimit ?? 3,
    maxInProgress: policy.maxInProgress ?? 10_000,
    pauseOnFailure: policy.pauseOnFailure,
  };
}

/** Checks that a rollout of this firmware can reach a device at all. `INVALID_ARGUMENT` for a range that is none. */
export function assertTargeting(targeting: Readonly<StoredTargeting>, firmware: Firmware): void {
  const { currentVersionRange: range, deviceTypes, hardwareModels } = targeting;
  if (range !== "" && semver.validRange(range) === null) {
    throw invalidArgument(
      "targeting.current_version_range",
      `"${range}" is not a range, such as ">=1.2.0 <2.0.0"`,
    );
  }
  assertOverlap("targeting.device_types", deviceTypes, firmware.deviceTypes);
  assertOverlap("targeting.hardware_models", hardwareModels, firmware.hardwareModels);
}

/** Percent times 100 is rarely an exact integer in binary. */
const decimalSlack = 1e-6;

function planGate(gate: NewGate | undefined): StoredGate {
  if (gate === undefined) return { ...defaultGate };
  return {
    minSample: gate.minSample ?? defaultGate.minSample,
    minSuccessPercent: gate.minSuccessPercent ?? defaultGate.minSuccessPercent,
    soakMs: gate.soakMs ?? defaultGate.soakMs,
    manual: gate.manual,
  };
}

function assertOverlap(field: string, wanted: readonly string[], fits: readonly string[]): void {
  if (wanted.length === 0 || fits.length === 0 || wanted.some((each) => fits.includes(each))) return;
  throw invalidArgument(field, `the firmware is for ${fits.join(", ")} only`);
}
