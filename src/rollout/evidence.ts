import type { HeartbeatRecord } from "../device/heartbeat-record.ts";
import type { OpenUpdate } from "./open-update.ts";

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
  | { readonly kind: "reverted"; readonly version: string };

/** A heartbeat that is stored durably. */
export interface EvidenceRecord extends HeartbeatRecord {
  /** Whether the device had newer ones when it sent this: history, which is no evidence of how the device is now. */
  readonly backlog?: boolean | undefined;
}

/**
 * Judges one heartbeat against the device's open update. Pure. Nothing here reads the device's clock, which may be wrong;
 * what a device delivers late (`backlog`) is no evidence. The rules:
 *
 * - The version to run, under another boot id than the one before the update (any, if that is unknown), proves an install.
 *   Errors in that first heartbeat are not counted: they may belong to the version before.
 * - A proven install is watched: each fatal error or reboot counts, and at `crashLimit` it is a crash loop. The first
 *   heartbeat without either at or after `verifyUntil` verifies it. Silence does not.
 * - Another version, in a boot that began after the device took the update, is a return by the device itself.
 * - A rollback is done when the version to run is seen under another boot id: nothing is watched.
 */
export function judgeHeartbeat(update: OpenUpdate, beat: EvidenceRecord): Evidence {
  if (beat.backlog === true) return nothing;
  const onTarget = beat.firmwareVersion === update.toVersion;
  if (update.state === "VERIFYING") return onTarget ? judgeWatched(update, beat) : judgeReturn(update, beat);
  if (onTarget) {
    if (!isOtherBoot(update, beat)) return nothing;
    return update.action === "INSTALL" ? { kind: "proven" } : { kind: "verified" };
  }
  return update.action === "INSTALL" && update.taken ? judgeReturn(update, beat) : nothing;
}

const nothing: Evidence = { kind: "none" };

/** What a boot may seem to have begun too early by: heartbeats take their time to us. */
const bootSlackMs = 2_000;

function judgeWatched(update: OpenUpdate, beat: HeartbeatRecord): Evidence {
  const rebooted = update.watchedBootId !== undefined && beat.bootId !== update.watchedBootId;
  let fatal = 0;
  for (const error of beat.errors) if (error.fatal) fatal++;
  // A crash that reboots the device is one event: its error comes with the new boot id.
  const crashes = Math.max(fatal, rebooted ? 1 : 0);
  if (crashes > 0) {
    const crashCount = update.crashCount + crashes;
    return { kind: crashCount >= update.crashLimit ? "crash_loop" : "crashed", crashCount };
  }
  const { verifyUntilMs } = update;
  return verifyUntilMs !== undefined && beat.receivedAt.getTime() >= verifyUntilMs
    ? { kind: "verified" }
    : nothing;
}

function judgeReturn(update: OpenUpdate, beat: HeartbeatRecord): Evidence {
  // Without a boot id to compare, only what was seen on the new version can come back from it.
  if (update.fromBootId === "" && update.state !== "VERIFYING") return nothing;
  if (!isOtherBoot(update, beat)) return nothing;
  const takenAtMs = update.installingAtMs;
  const beganAtMs = beat.receivedAt.getTime() - beat.uptimeMs;
  // A boot from before the device took the update: it has rebooted since the offer, and not yet again.
  if (beat.uptimeMs > 0 && takenAtMs !== undefined && beganAtMs + bootSlackMs < takenAtMs) return nothing;
  return { kind: "reverted", version: beat.firmwareVersion };
}

function isOtherBoot(update: OpenUpdate, beat: HeartbeatRecord): boolean {
  return update.fromBootId === "" || beat.bootId !== update.fromBootId;
}
