import type { DeviceUpdateState } from "../model/device-update.entity.ts";
import { type ReportableState, stateAfterReport } from "../model/device-update-state.ts";
import type { OpenUpdate } from "../model/open-update.ts";
import { nextTry } from "./next-try.ts";
import type { UpdateChange } from "./transition-sql.ts";

/** What a device reports of its update. */
export interface UpdateReport {
  readonly updateId: string;
  readonly state: ReportableState;
  readonly failureReason: string;
  readonly failureMessage: string;
  readonly downloadedBytes: number;
}

/**
 * The change that a report asks for; undefined if it tells nothing new. `bootId` is the boot that the device is in. What
 * failed before the device had the content, while something of ours was away, is not its failure: it gets a further try.
 */
export function planReport(
  update: Readonly<OpenUpdate>,
  report: UpdateReport,
  bootId: string,
  now: Date,
  ourOutage: boolean,
): UpdateChange | undefined {
  const to = stateAfterReport(update.state, report.state);
  const goesOn =
    to === update.state && report.state === to && to === "DOWNLOADING" && report.downloadedBytes > 0;
  if (to === update.state && !goesOn) return undefined;
  const takes = !update.taken && (to === "INSTALLING" || to === "REBOOTING");
  return {
    key: { deviceId: update.deviceId, id: update.id },
    rolloutId: update.rolloutId,
    from: update.state,
    to,
    downloadedBytes: report.downloadedBytes || undefined,
    // The boot in which it installs is the one that it must leave to be proven.
    fromBootId: takes && update.action !== "ROLLBACK" ? bootId || update.fromBootId : update.fromBootId,
    installingAt: takes ? now : undefined,
    ...(to === "FAILED"
      ? {
          failureReason: storable(report.failureReason) || "UNKNOWN",
          failureMessage: storable(report.failureMessage),
          endedAt: now,
          // What gave up before its reboot may be in any boot.
          nextTry: nextTry(update, now, update.action === "ROLLBACK" ? "" : bootId || update.fromBootId, {
            excused: ourOutage && lacksContent(update.state),
          }),
        }
      : {}),
  };
}

/** Whether a device at this point has not got all of the content. */
export function lacksContent(state: DeviceUpdateState): boolean {
  return state === "OFFERED" || state === "DOWNLOADING";
}

/** PostgreSQL's text holds no NUL. */
function storable(text: string): string {
  return text.replaceAll("\0", "");
}
