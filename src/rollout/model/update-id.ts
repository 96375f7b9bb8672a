import { randomInt } from "node:crypto";
import { v7 as uuidv7 } from "uuid";

/**
 * The id of a new device update: of a device's tries the newest has the highest, also where the clock was set back since
 * the try before it, `after`. Those that are made within one millisecond rise as well.
 */
export function newUpdateId(now: Date, after?: string): string {
  const leastMs = after === undefined ? 0 : timeOf(after) + 1;
  const msecs = Math.max(now.getTime(), leastMs);
  latest = { msecs, seq: msecs === latest.msecs ? latest.seq + 1 : randomInt(firstSequences) };
  return uuidv7(latest);
}

/** What the id that was made last counts from: the sequence tells those of one millisecond apart. */
let latest = { msecs: 0, seq: 0 };

/** A sequence has 32 bits; it begins in the lower half, so that it has room to rise. */
const firstSequences = 2 ** 31;

/** The milliseconds since 1970 in a UUID of version 7 (RFC 9562, section 5.7). */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
