import type { DurableHeartbeat } from "../../device/state/heartbeat-record.ts";
import { deviceUpdateStates } from "../model/device-update-state.ts";
import { type OpenUpdate, runsTarget } from "../model/open-update.ts";

/** An open update with what is under way for it. */
export interface Tracked {
  readonly update: OpenUpdate;
  /** Settles when the change under way is stored and memory follows; never rejects. */
  writing: Promise<void> | undefined;
  /** Heartbeats that came meanwhile, to be judged after it. */
  readonly stash: DurableHeartbeat[];
  /** By the {@link HearingTime}, when the device was last heard here, or its update learnt of. */
  heardMs: number;
  readonly addition: number;
  /** See {@link UpdateSlots}, which alone sets it. */
  slotTaken: boolean;
}

/** An update of which nothing is under way. */
export function newlyTracked(update: OpenUpdate, heardMs: number, addition: number): Tracked {
  return { update, writing: undefined, stash: [], heardMs, addition, slotTaken: false };
}

/** Takes over what another replica stored, unless we know more: states only go forward. */
export function adopt(tracked: Tracked, stored: OpenUpdate, hearingMs: number): void {
  const { update, writing } = tracked;
  if (writing !== undefined) return;
  const ahead = deviceUpdateStates.indexOf(stored.state) - deviceUpdateStates.indexOf(update.state);
  if (ahead < 0 || (ahead === 0 && stored.crashCount < update.crashCount)) return;
  if (ahead > 0) tracked.heardMs = hearingMs;
  update.state = stored.state;
  update.crashCount = stored.crashCount;
  update.installingAtMs = stored.installingAtMs;
  update.taken = stored.taken;
  update.provenAtMs = stored.provenAtMs;
  update.deadlineAtMs = stored.deadlineAtMs;
  update.notBeforeMs = stored.notBeforeMs;
  update.missingSinceMs = stored.missingSinceMs;
  if (ahead > 0) update.fromBootId = stored.fromBootId;
}

/** Remembers what will matter later: the boot before the update, and the boot that is watched. */
export function note(update: OpenUpdate, { backlog, bootId, firmwareVersion }: DurableHeartbeat): void {
  if (backlog === true) return;
  if (update.state === "VERIFYING") {
    if (update.component !== "" || runsTarget(update, firmwareVersion)) update.watchedBootId = bootId;
    return;
  }
  if (update.action !== "ROLLBACK" && !update.taken) update.fromBootId = bootId;
}
