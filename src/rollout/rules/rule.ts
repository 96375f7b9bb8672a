import type { FilterableDevice } from "../../device/state/filterable-device.ts";
import type { CompiledRollout } from "./compiled-rollout.ts";

/** Why there is no offer; see the contract's NoOfferReason. */
export type NoOfferReason =
  | "UP_TO_DATE"
  | "RING_NOT_OPEN"
  | "BATTERY_TOO_LOW"
  | "STORAGE_TOO_LOW"
  | "VERSION_TOO_OLD"
  | "TOO_MANY_IN_PROGRESS"
  | "ROLLOUT_PAUSED"
  | "ALREADY_TRIED"
  | "SECURITY_COUNTER"
  | "METERED_NETWORK"
  | "OUTSIDE_MAINTENANCE_WINDOW"
  | "CONSENT_REQUIRED"
  | "PACED"
  | "DOWNGRADE"
  | "EXCLUDED"
  | "BACKING_OFF"
  | "NOT_STARTED"
  | "NOT_TARGETED"
  | "UPDATE_IN_PROGRESS"
  | "STEP_MISSING"
  | "OUTRANKED"
  | "VERSION_UNKNOWN"
  | "PRODUCT_UNKNOWN"
  | "BATTERY_UNKNOWN"
  | "STORAGE_UNKNOWN"
  | "QUARANTINED"
  | "BLOCKED";

/** A device as an update check sees it: what the registry knows, with the check's own readings before the stored ones. */
export interface CheckedDevice extends FilterableDevice {
  readonly bootId: string;
  /** Whether its user agreed; undefined until the device asks. */
  readonly userConsent?: boolean | undefined;
}

/** What the rules need to know beside device and rollout; answered from memory. */
export interface OfferFacts {
  /** The time of the decision, in milliseconds since 1970. */
  nowMs(): number;
  /** Whether the device has had this rollout's update, or failed at a step on the way to it. "No" may be wrong: the database has the last word. */
  wasTried(rolloutId: string, deviceId: string): boolean;
  /** How many devices are at a rollout's update now. */
  inProgress(rolloutId: string): number;
  /** Until when a rollout has made all offers that it may make in a minute, in milliseconds since 1970; 0 if it has not. */
  pacedUntilMs(rolloutId: string): number;
  /** The rollout whose update the device is at, unless that gives way to the one that asks: see `givesWay`. */
  openRollout(deviceId: string, asking: CompiledRollout): string | undefined;
}

/** A rule's outcome in words. */
export interface RuleWords {
  readonly required: string;
  readonly actual: string;
  readonly message: string;
}

/**
 * One rule of the offer. `judge` is what decides, for an update check, an explanation and a preview alike: it allocates
 * nothing and returns why the device must not have the update, or undefined if the rule holds. The words are made only for
 * people who ask.
 */
export interface Rule {
  /** As in the contract's messages. */
  readonly name: string;
  /**
   * `targeting`: whom the rollout is for. `device`: what depends on the device alone, and a preview counts.
   * `rollout`: what depends on how far the rollout is, and a preview looks beyond.
   */
  readonly scope: "targeting" | "device" | "rollout";
  judge(rollout: CompiledRollout, device: CheckedDevice, facts: OfferFacts): NoOfferReason | undefined;
  words(
    rollout: CompiledRollout,
    device: CheckedDevice,
    facts: OfferFacts,
    reason: NoOfferReason | undefined,
  ): RuleWords;
}
