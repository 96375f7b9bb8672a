import { compareVersions } from "../../version/compare-versions.ts";
import { isReportOf, type NamedVersion, type ReportedVersions } from "../../version/reported-versions.ts";
import type { DeviceUpdateState } from "../model/device-update.entity.ts";
import type { RolloutState } from "../model/rollout.entity.ts";
import { isActive } from "../model/rollout-state.ts";

/** The last install of one product on a device, and what the device says that it runs of it. */
export interface Standing extends NamedVersion {
  readonly deviceId: string;
  readonly updateId: string;
  readonly rolloutId: string;
  readonly rolloutState: RolloutState;
  readonly product: string;
  /** Whether no other install of the product came after it, not even one that was rolled back. */
  readonly isNewest: boolean;
  /** Whether it is still to be proven. */
  readonly isOpen: boolean;
  /** Whether it succeeded, and is not followed by another try. */
  readonly succeeded: boolean;
  /** The version that the device has been known to run instead; empty unless it drifted. */
  readonly driftedTo: string;
  /** The version that it reports; empty if it says nothing of it. */
  readonly running: string;
  /** Whether that is older than the proof of its install or rollback: what devices say is stored a little later than what it proves. */
  readonly isBehind: boolean;
  /** How its rollback stands; null without one. */
  readonly rollback: DeviceUpdateState | null;
  /** Whether that timed out and the device is still to be heard again, which is seen to by itself. */
  readonly isAway: boolean;
  /** How often it was rolled back in vain: the device came back on the version, or did not go back in time. */
  readonly returns: number;
  /** Whether a newer rollout brings the same firmware: somebody has decided that it is good. */
  readonly isBroughtAgain: boolean;
}

/** What is to be done about a device. */
export type StandingVerdict =
  /** It has to be seen first what becomes of an install that is under way, or what the device says after its proof. */
  | "unsettled"
  /** All is as it was known to be. */
  | "as_known"
  /** It runs an older version than the one that it was proven to run. */
  | "drifted"
  /** It drifted, and does so no more. */
  | "recovered"
  /** It runs a version that was taken back. */
  | "take_back";

/**
 * Judges what a device runs against what it was last proven to run. Pure. Whoever runs a newer version has been brought there by
 * somebody, and is no matter of drift; a text that nothing explains is, like any other version, not the one that was proven.
 */
export function judgeStanding(standing: Standing, reported: ReportedVersions): StandingVerdict {
  const { running, rollback, rolloutState } = standing;
  if (standing.isBehind) return "unsettled";
  const asProven = standing.driftedTo === "" ? "as_known" : "recovered";
  if (running === "") return "as_known";
  const runsIt = isReportOf(running, standing);
  if (standing.isOpen) return runsIt ? asProven : "unsettled";
  if (rollback !== null || rolloutState === "ROLLED_BACK") {
    return runsIt && isToGoBack(standing) ? "take_back" : asProven;
  }
  if (!standing.succeeded || !isActive(rolloutState) || runsIt) return asProven;
  const version = reported.versionOf(running);
  if (version !== undefined && compareVersions(version, standing.version) > 0) return asProven;
  return running === standing.driftedTo ? "as_known" : "drifted";
}

function isToGoBack(standing: Standing): boolean {
  const { isNewest, isAway, isBroughtAgain, rollback, rolloutState, returns } = standing;
  if (!isNewest || isAway || isBroughtAgain || rolloutState === "ABORTED" || returns >= maxReturns)
    return false;
  return rollback === null || rollback === "SUCCEEDED" || rollback === "TIMED_OUT";
}

/** A device whose own fall-back brings the version again each time, or that never goes back, is not rolled back for ever. */
export const maxReturns = 3;
