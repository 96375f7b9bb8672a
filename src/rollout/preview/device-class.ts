import { stringify } from "uuid";
import { nothingHeld } from "../../device/state/held-readings.ts";
import type { NetworkType } from "../../device/state/readings.ts";
import type { Standing } from "../../device/state/standing.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import { storageNeed } from "../rules/readiness-rules.ts";
import type { CheckedDevice, OfferFacts } from "../rules/rule.ts";

/**
 * Devices that no rule tells apart, other than by the hash of their ids. What the rollout's rules do not look at is not
 * read, and so undefined.
 */
export interface DeviceClass {
  readonly device_type?: string;
  readonly hardware_model: string;
  readonly product: string;
  readonly update_pin: "none" | "canary" | "excluded";
  readonly standing: Standing;
  /** Whether they were heard of lately; null: never. */
  readonly heard: boolean | null;
  /** Whether they are expected so rarely that they would be missing though they are well. */
  readonly rare?: boolean;
  /** Whether they are in a group that is always in the first ring. */
  readonly canary?: boolean;
  readonly time_zone?: string | null;
  /** Of what the rollout updates. */
  readonly version: string | null;
  /** How many of the needs of {@link PreviewNeeds} the charge and the free storage meet; null if unknown. */
  readonly battery?: number | null;
  readonly storage?: number | null;
  readonly charging?: boolean | null;
  /** A whole number in text; null if unknown. */
  readonly security_counter?: string | null;
  readonly network?: NetworkType | null;
  /** Whether they have had the rollout's update. */
  readonly tried?: boolean;
  /** Whether they have it or had it, and count for that in their ring. */
  readonly had?: boolean;
  /** The other rollout whose update they are at, or null. */
  readonly open?: string | null;
  /** Their ids, {@link idBytes} each. */
  readonly ids: Uint8Array;
}

/** Bytes of an id. */
export const idBytes = 16;

/** Charges and free storages that the firmware and its steps ask for, rising, without 0: no rule looks at what lies between. */
export interface PreviewNeeds {
  readonly battery: readonly number[];
  readonly storage: readonly number[];
}

/** What the rollout's firmware and the steps on the way to it ask of a device. */
export function needsOf(rollout: CompiledRollout): PreviewNeeds {
  const all = [rollout.firmware, ...rollout.steps.map(({ firmware }) => firmware)];
  const { storageFactor } = rollout.rollout.policy;
  return {
    battery: rising(all.map(({ minBatteryPercent }) => minBatteryPercent)),
    storage: rising(all.map((firmware) => storageNeed(firmware, storageFactor))),
  };
}

/** A device for which the rules that are judged once a class judge as they do for every one of the class. */
export function representative(
  row: DeviceClass,
  rollout: CompiledRollout,
  needs: PreviewNeeds,
): CheckedDevice {
  const [group] = rollout.canaryGroups ?? [];
  return {
    ...nothingHeld,
    id: stringify(row.ids, 0),
    serialNumber: "",
    deviceType: typeOf(row, rollout),
    hardwareModel: row.hardware_model,
    product: row.product,
    displayName: "",
    groups: row.canary === true && group !== undefined ? [group] : [],
    tags: [],
    metadata: typeof row.time_zone === "string" ? { time_zone: row.time_zone } : {},
    updatePin: row.update_pin,
    standing: row.standing,
    cloneSuspectedAtMs: undefined,
    createdAtMs: 0,
    expectedIntervalMs: undefined,
    clockVerdict: undefined,
    faultTimes: {},
    firmwareVersion: rollout.component === "" ? (row.version ?? "") : "",
    components:
      rollout.component === "" || row.version === null ? undefined : { [rollout.component]: row.version },
    lastSeenAtMs: undefined,
    batteryPercent: met(needs.battery, row.battery),
    charging: row.charging ?? undefined,
    storageFreeBytes: met(needs.storage, row.storage),
    networkType: row.network ?? undefined,
    securityCounter: Number(row.security_counter ?? 0),
    bootId: "",
    userConsent: undefined,
  };
}

/** What the rules need to know beside rollout and device, for a class. */
export function factsOf(row: DeviceClass, nowMs: number): OfferFacts {
  return {
    nowMs: () => nowMs,
    wasTried: () => row.tried === true,
    inProgress: () => 0,
    pacedUntilMs: () => 0,
    openRollout: () => row.open ?? undefined,
  };
}

/** The type of a class's devices, which is only read if the rollout is for several. */
export function typeOf({ device_type }: DeviceClass, { deviceTypes }: CompiledRollout): string {
  const [only = ""] = deviceTypes;
  return device_type ?? only;
}

/** The highest need that is met; 0 if none is. Undefined if the reading is unknown or no rule looks at it. */
function met(needs: readonly number[], count: number | null | undefined): number | undefined {
  return typeof count === "number" ? (needs[count - 1] ?? 0) : undefined;
}

/** Rising, without repeats, above 0. */
function rising(values: readonly number[]): number[] {
  return [...new Set(values)].filter((value) => value > 0).sort((a, b) => a - b);
}
