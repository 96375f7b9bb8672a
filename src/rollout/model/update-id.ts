import { v7 as uuidv7 } from "uuid";

/**
 * The id of a new device update: of a device's tries the newest has the highest, also where the clock was set back since
 * the try before it, `after`.
 */
export function newUpdateId(now: Date, after?: string): string {
  const leastMs = after === undefined ? 0 : timeOf(after) + 1;
  return uuidv7({ msecs: Math.max(now.getTime(), leastMs) });
}

/** The milliseconds since 1970 in a UUID of version 7 (RFC 9562, section 5.7). */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
