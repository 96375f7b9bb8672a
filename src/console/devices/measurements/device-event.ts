import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ErrorOccurrence } from "../../../../gen/ota/v1/error_group_pb.js";
import { type DeviceUpdate, DeviceUpdateState, UpdateAction } from "../../../../gen/ota/v1/rollout_pb.js";
import { type SeriesPoint, TimeBasis } from "../../../../gen/ota/v1/telemetry_service_pb.js";
import { type Span, spanRequest } from "./span.ts";

/** Something that happened on a device. */
export interface DeviceEvent {
  readonly kind: EventKind;
  readonly atMs: number;
  readonly text: string;
  /** The rollout or the error group behind it. */
  readonly rolloutId?: string;
  readonly groupId?: string;
}

/** The kinds of events, as rows from top to bottom. */
export const eventKinds = ["Updates", "Reboots", "Crashes", "Errors"] as const;

/** One of {@link eventKinds}. */
export type EventKind = (typeof eventKinds)[number];

/** When each update of a span was offered, and how it ended. */
export function updateEvents(updates: readonly DeviceUpdate[], span: Span): DeviceEvent[] {
  return updates
    .flatMap((update): DeviceEvent[] => {
      const { rolloutId, fromVersion, toVersion, offerTime, endTime, state, failureReason, action } = update;
      const what = action === UpdateAction.ROLLBACK ? "Rollback" : "Update";
      const way = `${fromVersion || "?"} → ${toVersion}`;
      const begun = offerTime && {
        kind: "Updates" as const,
        atMs: timestampMs(offerTime),
        text: `${what} offered: ${way}`,
        rolloutId,
      };
      const how = `${(DeviceUpdateState[state] ?? "").toLowerCase().replaceAll("_", " ")}`;
      const ended = endTime && {
        kind: "Updates" as const,
        atMs: timestampMs(endTime),
        text: `${what} ${how}: ${way}${failureReason === "" ? "" : ` (${failureReason})`}`,
        rolloutId,
      };
      return [begun, ended].filter((event) => event !== undefined);
    })
    .filter(({ atMs }) => atMs >= span.startMs && atMs < span.endMs);
}

/** Errors and crashes of a span, placed as the heartbeats that brought them. */
export function errorEvents(
  occurrences: readonly ErrorOccurrence[],
  span: Span,
  basis: TimeBasis,
): DeviceEvent[] {
  return occurrences
    .flatMap((occurrence) => {
      const { report, groupId, firmwareVersion } = occurrence;
      const atMs = placeOf(occurrence, basis);
      if (report === undefined || atMs === undefined) return [];
      const { fatal, code, message } = report;
      return {
        kind: fatal ? ("Crashes" as const) : ("Errors" as const),
        atMs,
        text: `${code} on ${firmwareVersion}${message === "" ? "" : `: ${message.slice(0, 120)}`}`,
        groupId,
      };
    })
    .filter(({ atMs }) => atMs >= span.startMs && atMs < span.endMs);
}

/** Which occurrences to ask for, which is by receipt: what a device kept may have come long after it happened. */
export function occurrenceRequest(
  span: Span,
  basis: TimeBasis,
): { startTime: Timestamp; endTime?: Timestamp } {
  if (basis !== TimeBasis.DEVICE) return spanRequest(span);
  return { startTime: timestampFromMs(span.startMs - mostAheadMs) };
}

/** The device's time counts as long as it can be right, as in `TIME_BASIS_DEVICE`. */
function placeOf({ receiveTime, deviceTime }: ErrorOccurrence, basis: TimeBasis): number | undefined {
  if (receiveTime === undefined) return undefined;
  const received = timestampMs(receiveTime);
  if (basis !== TimeBasis.DEVICE || deviceTime === undefined) return received;
  const made = timestampMs(deviceTime);
  return made > received + mostAheadMs || made < received - mostBehindMs ? received : made;
}

const mostAheadMs = 60_000;

/** For so long heartbeats are kept by default; no device sends one that is older. */
const mostBehindMs = 30 * 86_400_000;

/**
 * The reboots, found where the uptime falls: the newest value of a bucket lies below that of the one before. Several
 * within one bucket count as one.
 */
export function rebootEvents(uptime: readonly SeriesPoint[], bucketMs: number): DeviceEvent[] {
  return uptime.flatMap((point, index): DeviceEvent[] => {
    const before = uptime[index - 1];
    if (before === undefined || point.startTime === undefined || point.last >= before.last) return [];
    // The newest value was taken at the end of the bucket at the latest.
    const start = timestampMs(point.startTime);
    const atMs = Math.max(start + bucketMs - point.last * 1_000, start - bucketMs);
    return [{ kind: "Reboots", atMs, text: "Rebooted" }];
  });
}
