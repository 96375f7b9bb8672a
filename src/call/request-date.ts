import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { invalidArgument } from "../errors.ts";

/**
 * A time of a request, cut to whole milliseconds: rounded, the last moment of the year 9999 would become one that nobody can
 * write. Undefined if it names none. The doors have refused what is no time.
 */
export function dateOf(time: Timestamp): Date;
export function dateOf(time: Timestamp | undefined): Date | undefined;
export function dateOf(time: Timestamp | undefined): Date | undefined {
  if (time === undefined) return undefined;
  return new Date(Number(time.seconds) * 1_000 + Math.floor(time.nanos / nanosPerMs));
}

/** The part of time that a request asks about. */
export interface TimeRange {
  /** Inclusive; undefined for the oldest that is kept. */
  readonly from: Date | undefined;
  /** Exclusive; undefined for now. */
  readonly to: Date | undefined;
}

/**
 * The range of a request for what was received or recorded, cut to the years in which anything can have been. Throws
 * `INVALID_REQUEST` for one that ends before it begins, or as it does.
 */
export function timeRange({ startTime, endTime }: RequestRange): TimeRange {
  const from = dateOf(startTime);
  const to = dateOf(endTime);
  if (from !== undefined && to !== undefined && to <= from) {
    throw invalidArgument("start_time", "must lie before the end");
  }
  return {
    from: from === undefined ? undefined : withinRecords(from),
    to: to === undefined ? undefined : withinRecords(to),
  };
}

/** The same for a request that must say where its range begins. */
export function requiredTimeRange(range: RequestRange): TimeRange & { readonly from: Date } {
  const { from, to } = timeRange(range);
  if (from === undefined) throw invalidArgument("start_time", "is required");
  return { from, to };
}

interface RequestRange {
  readonly startTime?: Timestamp | undefined;
  readonly endTime?: Timestamp | undefined;
}

/** Arithmetic with these stays within what PostgreSQL and ISO 8601 can write. */
const earliest = new Date("1970-01-01T00:00:00Z");
const latest = new Date("9000-01-01T00:00:00Z");

function withinRecords(time: Date): Date {
  if (time < earliest) return earliest;
  return time > latest ? latest : time;
}

const nanosPerMs = 1_000_000;
