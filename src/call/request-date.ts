import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { invalidArgument } from "../errors.ts";

/** A time of a request; undefined if it names none. `INVALID_REQUEST` for one that a `Date` cannot hold. */
export function dateOf(time: Timestamp | undefined, field: string): Date | undefined {
  return time === undefined ? undefined : requiredDate(time, field);
}

/** A time that a request must name. `INVALID_REQUEST` without one, or for one that a `Date` cannot hold. */
export function requiredDate(time: Timestamp | undefined, field: string): Date {
  const date = time === undefined ? new Date(Number.NaN) : timestampDate(time);
  if (Number.isNaN(date.getTime())) throw invalidArgument(field, "is no valid time");
  return date;
}
