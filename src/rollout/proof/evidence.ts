import type { DurableHeartbeat } from "../../device/state/heartbeat-record.ts";
import { isReinstall, type OpenUpdate, runsTarget } from "../model/open-update.ts";
import { versionOf } from "../model/version-of.ts";
import type { HearingTime } from "./hearing-time.ts";

/** What a heartbeat says about its device's open update. */
export type Evidence =
  /** Nothing new. */
  | { readonly kind: "none" }
  /** The device runs what it is meant to run, after a reboot. */
  | { readonly kind: "proven" }
  /** It has done so healthily for the verification time. */
  | { readonly kind: "verified" }
  /** It crashed or rebooted while it was watched; `crashCount` is the new sum. */
  | { readonly kind: "crashed"; readonly crashCount: number }
  /** As `crashed`, and the sum has reached the limit. */
  | { readonly kind: "crash_loop"; readonly crashCount: number }
  /** It came back on another version. */
  | { readonly kind: "reverted"; readonly version: string }
  /** It must not go back any more: its security counter, which never falls, is above that of the version before. */
  | { readonly kind: "blocked"; readonly counter: number };

/**
 * Judges one heartbeat against the device's open update. Pure. Nothing here reads the device's clock, which may be wrong;
 * what a device delivers late (`backlog`) is no evidence. The rules:
 *
 * - The version to run, under another boot id than the one before the update (any, if that is unknown), proves an install.
 *   Errors in that first heartbeat are not counted: they may belong to the version before.
 * - Whoever had the version before proves that it was installed again by a boot that began after it reported to install it.
 * - A proven install is watched: each fatal error or reboot counts, and at `crashLimit` it is a crash loop. The first
 *   heartbeat without either verifies it, once devices could be heard for the verification time. Silence does not.
 * - Another version, in a boot that began after the device took the update, is a return by the device itself.
 * - A rollback is done when the version to run is seen under another boot id: nothing is watched. One that has not begun
 *   is blocked when the device's security counter has risen above that of the version to go back to.
 * - An application counts by its own version, and without a reboot; a heartbeat that names no components says nothing of
 *   its version. It has returned when, after it was proven, another version is seen.
 */
export function judgeHeartbeat(update: OpenUpdate, beat: DurableHeartbeat, time: EvidenceTime): Evidence {
  if (beat.backlog === true) return nothing;
  if (update.component !== "") return judgeApplication(update, beat, time);
  const onTarget = runsTarget(update, beat.firmwareVersion);
  if (update.state === "VERIFYING")
    return onTarget ? judgeWatched(update, beat, time) : judgeReturn(update, beat, time);
  if (onTarget) {
    if (!isOtherBoot(update, beat) || isToBeInstalled(update)) return nothing;
    return update.action !== "ROLLBACK" ? { kind: "proven" } : { kind: "verified" };
  }
  if (update.action === "ROLLBACK" && !update.taken && beat.securityCounter > update.securityCounter) {
    return { kind: "blocked", counter: beat.securityCounter };
  }
  return update.action !== "ROLLBACK" && update.taken ? judgeReturn(update, beat, time) : nothing;
}

/** Measures how long something was watched, and how long ago it was. */
type EvidenceTime = Pick<HearingTime, "between" | "elapsed">;

const nothing: Evidence = { kind: "none" };

/** What a boot may seem to have begun too early by: heartbeats take their time to us. */
const bootSlackMs = 2_000;

function judgeApplication(update: OpenUpdate, beat: DurableHeartbeat, time: EvidenceTime): Evidence {
  const told = beat.components !== undefined;
  const version = versionOf(beat, update.component);
  if (update.state === "VERIFYING") {
    return told && !runsTarget(update, version)
      ? { kind: "reverted", version }
      : judgeWatched(update, beat, time);
  }
  if (!runsTarget(update, version) || isToBeInstalled(update)) return nothing;
  return update.action !== "ROLLBACK" ? { kind: "proven" } : { kind: "verified" };
}

function judgeWatched(update: OpenUpdate, beat: DurableHeartbeat, time: EvidenceTime): Evidence {
  const rebooted = update.watchedBootId !== undefined && beat.bootId !== update.watchedBootId;
  let fatal = 0;
  for (const error of beat.errors) if (error.fatal) fatal++;
  // A crash that reboots the device is one event: its error comes with the new boot id.
  const crashes = Math.max(fatal, rebooted ? 1 : 0);
  if (crashes > 0) {
    const crashCount = update.crashCount + crashes;
    return { kind: crashCount >= update.crashLimit ? "crash_loop" : "crashed", crashCount };
  }
  const { provenAtMs, verificationMs } = update;
  return provenAtMs !== undefined && time.between(provenAtMs, beat.receivedAt) >= verificationMs
    ? { kind: "verified" }
    : nothing;
}

function judgeReturn(update: OpenUpdate, beat: DurableHeartbeat, time: EvidenceTime): Evidence {
  // Without a boot id to compare, only what was seen on the new version can come back from it.
  if (update.fromBootId === "" && update.state !== "VERIFYING") return nothing;
  if (!isOtherBoot(update, beat)) return nothing;
  const takenAtMs = update.installingAtMs;
  // A boot from before the device took the update: it has rebooted since the offer, and not yet again.
  if (beat.uptimeMs > 0 && takenAtMs !== undefined) {
    if (time.elapsed(takenAtMs, beat.receivedAt) + bootSlackMs < beat.uptimeMs) return nothing;
  }
  return { kind: "reverted", version: beat.firmwareVersion };
}

/** Whether the version that the device runs is still the one that it had before. */
function isToBeInstalled(update: OpenUpdate): boolean {
  return isReinstall(update) && !update.taken;
}

function isOtherBoot(update: OpenUpdate, beat: DurableHeartbeat): boolean {
  return update.fromBootId === "" || beat.bootId !== update.fromBootId;
}
