import type { DeviceUpdateState } from "./device-update.entity.ts";

/** Every state of a device's update. */
export const deviceUpdateStates = [
  "OFFERED",
  "DOWNLOADING",
  "DOWNLOADED",
  "INSTALLING",
  "REBOOTING",
  "VERIFYING",
  "SUCCEEDED",
  "FAILED",
  "TIMED_OUT",
  "SUPERSEDED",
  "CANCELLED",
  "ROLLED_BACK",
] as const satisfies readonly DeviceUpdateState[];

/** What a device may report of its update. */
export const reportableStates = ["DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING", "FAILED"] as const;

/** See {@link reportableStates}. */
export type ReportableState = (typeof reportableStates)[number];

/** What the service finds out or decides by itself. */
export const deviceUpdateEvents = [
  /** A heartbeat showed the version that the device is meant to run. */
  "prove",
  /** The device ran it healthily for the verification time. */
  "verify",
  /** A heartbeat showed another version after a reboot. */
  "revert",
  /** The device crashed too often while it was watched. */
  "crash_loop",
  /** The deadline passed in silence. */
  "time_out",
  /** The rollout was cancelled: ends what is not being installed. */
  "cancel",
  /** A newer update takes its place: ends what is not being installed. */
  "supersede",
  /** The rollout is rolled back: ends what is being installed or watched. */
  "roll_back",
  /** The device was retired: ends whatever is open. */
  "retire",
] as const;

/** See {@link deviceUpdateEvents}. */
export type DeviceUpdateEvent = (typeof deviceUpdateEvents)[number];

/** The state after an event, or undefined if the event means nothing in this state. Final states know no events. */
export function nextUpdateState(
  state: DeviceUpdateState,
  event: DeviceUpdateEvent,
): DeviceUpdateState | undefined {
  if (isFinalUpdate(state)) return undefined;
  switch (event) {
    case "prove":
      return state === "VERIFYING" ? undefined : "VERIFYING";
    case "verify":
    case "crash_loop":
      if (state !== "VERIFYING") return undefined;
      return event === "verify" ? "SUCCEEDED" : "FAILED";
    case "revert":
      return isTaken(state) ? "FAILED" : undefined;
    case "time_out":
      return "TIMED_OUT";
    case "cancel":
      return isTaken(state) ? undefined : "CANCELLED";
    case "supersede":
      return isTaken(state) ? undefined : "SUPERSEDED";
    case "roll_back":
      return isTaken(state) ? "ROLLED_BACK" : undefined;
    case "retire":
      return "CANCELLED";
  }
}

/**
 * The state after a device's report: forward only. A report that lies at or behind what is known, or comes after the end,
 * changes nothing; one that skips steps is taken, since reports may get lost.
 */
export function stateAfterReport(state: DeviceUpdateState, reported: ReportableState): DeviceUpdateState {
  if (isFinalUpdate(state)) return state;
  if (reported === "FAILED") return "FAILED";
  return deviceUpdateStates.indexOf(reported) > deviceUpdateStates.indexOf(state) ? reported : state;
}

/** Whether an update in this state never changes again. */
export function isFinalUpdate(state: DeviceUpdateState): boolean {
  return deviceUpdateStates.indexOf(state) > deviceUpdateStates.indexOf("VERIFYING");
}

/** The states in which an update has begun to change its device: from there on it cannot just be cancelled. */
export const takenStates = ["INSTALLING", "REBOOTING", "VERIFYING"] as const satisfies DeviceUpdateState[];

/** The open states before those. */
export const untakenStates = ["OFFERED", "DOWNLOADING", "DOWNLOADED"] as const satisfies DeviceUpdateState[];

/** Whether an open update is in one of the {@link takenStates}. */
export function isTaken(state: DeviceUpdateState): boolean {
  return (takenStates as readonly string[]).includes(state);
}
