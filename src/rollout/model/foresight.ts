import type { NewRollout } from "./new-rollout.ts";

/** What a warning says; see the contract's RolloutWarningCode. */
export type RolloutWarningCode =
  | "ROLLBACK_TARGET_MISSING"
  | "ROLLBACK_TARGET_UNFIT"
  | "ROLLBACK_TARGET_REFUSED"
  | "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER"
  | "NO_DEVICE"
  | "RING_EMPTY"
  | "RING_WIDENED"
  | "RING_OF_ONE"
  | "OTHER_ROLLOUT_FIRST"
  | "OTHER_UPDATE_OPEN"
  | "DEVICES_OFFLINE"
  | "DEVICES_NEVER_HEARD"
  | "READING_UNKNOWN"
  | "PRODUCT_UNKNOWN"
  | "VERSION_UNKNOWN"
  | "VERSION_TOO_OLD"
  | "STEP_MISSING"
  | "SECURITY_COUNTER"
  | "WINDOW_FAR"
  | "START_TIME_PAST"
  | "FIRMWARE_EXPIRES"
  | "TIMEOUT_TOO_SHORT"
  | "RETURN_TOO_SHORT"
  | "NOT_COUNTED"
  | "DOWNGRADE_REFUSED"
  | "FIRMWARE_DAMAGED";

/** Something to know before a rollout starts. It refuses nothing. */
export interface RolloutWarning {
  readonly code: RolloutWarningCode;
  /** In words, with the numbers. */
  readonly message: string;
  /** How many devices it is about; 0 if it is not about devices. */
  readonly count: number;
  /** What it is about: a version, a ring, a rollout's id, a rule's name; empty if that goes without saying. */
  readonly subject: string;
  readonly remedies: readonly Remedy[];
}

/** What can be done; see the contract's RemedyAction. */
type RemedyAction =
  | "UPLOAD_FIRMWARE"
  | "RELEASE_FIRMWARE"
  | "PROMOTE"
  | "APPROVE"
  | "RETRY_DEVICES"
  | "BRING_ONLINE"
  | "ROLL_BACK"
  | "ABORT"
  | "ENROL_DEVICES"
  | "SET_PRODUCT"
  | "NAME_VERSION";

/** Something that an operator can do about an alert or a warning, with what it is about. */
export interface Remedy {
  readonly action: RemedyAction;
  /** In words, with who can do it. */
  readonly message: string;
  readonly rolloutId?: string;
  readonly ring?: string;
  readonly product?: string;
  readonly version?: string;
  readonly firmwareId?: string;
}

/** Looks ahead before a rollout starts. Never fails, nor takes longer than a caller would wait: then a warning says so. */
export interface Foresight {
  ofRollout(rolloutId: string, signal: AbortSignal): Promise<readonly RolloutWarning[]>;
  /** Of a rollout that is about to be created. */
  ofNew(wanted: NewRollout, signal: AbortSignal): Promise<readonly RolloutWarning[]>;
}
