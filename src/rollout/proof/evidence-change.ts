import type { HeartbeatRecord } from "../../device/state/heartbeat-record.ts";
import { isSameVersion } from "../../version/compare-versions.ts";
import { isSemanticVersion } from "../../version/semantic-version.ts";
import type { DeviceUpdateEvent } from "../model/device-update-state.ts";
import { nextUpdateState } from "../model/device-update-state.ts";
import type { OpenUpdate, UpdatePatch } from "../model/open-update.ts";
import type { Evidence } from "./evidence.ts";
import { nextTry } from "./next-try.ts";
import type { UpdateChange } from "./transition-sql.ts";

/** The change that evidence asks for; undefined if the update's state knows no such step. */
export function changeFor(
  update: Readonly<OpenUpdate>,
  evidence: Exclude<Evidence, { kind: "none" }>,
  beat: HeartbeatRecord,
): UpdateChange | undefined {
  const at = beat.receivedAt;
  switch (evidence.kind) {
    case "proven":
      return update.verificationMs === 0 ? succeeded(update, at) : proven(update, at);
    case "verified":
      return succeeded(update, at);
    case "crashed":
      return { ...step(update), to: update.state, crashCount: evidence.crashCount };
    case "crash_loop":
      return after(update, ["crash_loop"], {
        crashCount: evidence.crashCount,
        failureReason: "CRASH_LOOP",
        failureMessage: `${evidence.crashCount} crashes or reboots while the new version was watched`,
        endedAt: at,
      });
    case "blocked":
      return {
        ...step(update),
        to: "FAILED",
        failureReason: "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER",
        failureMessage: `the security counter of ${update.toVersion} is ${update.securityCounter}, the device is at ${evidence.counter}`,
        endedAt: at,
      };
    case "reverted":
      return after(update, ["revert"], {
        failureReason: "DEVICE_REVERTED",
        failureMessage: `the device came back on ${evidence.version || "an unknown version"} after a reboot${doubt(update, evidence.version)}`,
        endedAt: at,
        nextTry: nextTry(update, at, beat.bootId),
      });
  }
}

/** Whoever reads that an update failed on such a version should know what else it may be. */
function doubt({ fromVersion, toVersion }: Readonly<OpenUpdate>, version: string): string {
  if (version === "" || isSemanticVersion(version) || isSameVersion(version, fromVersion)) return "";
  return `; if that is ${toVersion}, name it in the reported versions of that firmware`;
}

function proven(update: Readonly<OpenUpdate>, at: Date): UpdateChange | undefined {
  const verifyUntilMs = at.getTime() + update.verificationMs;
  // The last heartbeat of the watch may come a while after its end: a deadline before that would count as silence.
  const deadlineMs = Math.max(update.deadlineAtMs, verifyUntilMs + update.verificationMs + lastWordMs);
  return after(update, ["prove"], {
    installingAt: at,
    provenAt: at,
    verifyUntil: new Date(verifyUntilMs),
    deadlineAt: new Date(deadlineMs),
  });
}

function succeeded(update: Readonly<OpenUpdate>, at: Date): UpdateChange | undefined {
  const events: DeviceUpdateEvent[] = update.state === "VERIFYING" ? ["verify"] : ["prove", "verify"];
  return after(update, events, { installingAt: at, provenAt: at, endedAt: at });
}

/** How long a device may be silent around the end of its watch. */
const lastWordMs = 10 * 60_000;

function step(update: Readonly<OpenUpdate>) {
  return {
    key: { deviceId: update.deviceId, id: update.id },
    rolloutId: update.rolloutId,
    from: update.state,
  };
}

function after(
  update: Readonly<OpenUpdate>,
  events: readonly DeviceUpdateEvent[],
  patch: UpdatePatch & Pick<UpdateChange, "nextTry">,
): UpdateChange | undefined {
  let state = update.state;
  for (const event of events) {
    const next = nextUpdateState(state, event);
    if (next === undefined) return undefined;
    state = next;
  }
  return { ...step(update), to: state, fromBootId: update.fromBootId, ...patch };
}

/** What becomes of an update whose deadline passed. */
export function timeOut(update: OpenUpdate, now: Date): UpdateChange {
  return {
    key: update,
    rolloutId: update.rolloutId,
    from: update.state,
    to: "TIMED_OUT",
    failureReason: "SILENT",
    failureMessage: `nothing proved the update by its deadline; it was ${update.state} then`,
    endedAt: now,
  };
}
