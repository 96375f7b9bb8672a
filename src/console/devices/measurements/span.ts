import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { DeviceSearch, deviceRanges } from "../../addresses/device-search.ts";
import { useNow } from "../../ui/use-now.ts";

/** A span of time on a page, in milliseconds since 1970. */
export interface Span {
  readonly startMs: number;
  readonly endMs: number;
  /** Whether it moves along with the present. */
  readonly isLive: boolean;
}

/** The span that an address names: two moments, or the time up to now. */
export function useSpan({ from, to, range = defaultRange }: DeviceSearch): Span {
  const now = useNow(liveStepMs);
  if (from !== undefined && to !== undefined) return { startMs: from, endMs: to, isLive: false };
  const endMs = Math.ceil(now.getTime() / liveStepMs) * liveStepMs;
  return { startMs: endMs - rangesMs[range], endMs, isLive: true };
}

/** The span's part of a request. */
export function spanRequest({ startMs, endMs }: Span): { startTime: Timestamp; endTime: Timestamp } {
  return { startTime: timestampFromMs(startMs), endTime: timestampFromMs(endMs) };
}

/** The lengths of the ranges that are offered. */
const rangesMs: Readonly<Record<(typeof deviceRanges)[number], number>> = {
  "1h": 3_600_000,
  "6h": 6 * 3_600_000,
  "24h": 24 * 3_600_000,
  "7d": 7 * 86_400_000,
  "30d": 30 * 86_400_000,
};

/** What a page shows that was not told otherwise. */
export const defaultRange = "24h";

/** The shortest span that can be zoomed to: below it there is hardly one heartbeat. */
export const shortestSpanMs = 60_000;

/** How often a live span moves. */
const liveStepMs = 15_000;
