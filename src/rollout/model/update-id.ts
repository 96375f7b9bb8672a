import { randomInt } from "node:crypto";
import { v7 as uuidv7 } from "uuid";

/**
 * The id of a new device update: of a device's tries the newest has the highest, also where the clock was set back since
 * the try before it, `after`. Those that are made for one millisecond rise as well, whatever is made for others in between.
 */
export function newUpdateId(now: Date, after?: string): string {
  const leastMs = after === undefined ? 0 : timeOf(after) + 1;
  sequence = sequence < lastSequence ? sequence + 1 : randomInt(firstSequences);
  return uuidv7({ msecs: Math.max(now.getTime(), leastMs), seq: sequence });
}

/** A sequence has 32 bits; it begins in the lower half, so that it has room to rise. */
const firstSequences = 2 ** 31;

const lastSequence = 2 ** 32 - 1;

/** That of the id that was made last: it tells those of one millisecond apart. */
let sequence = randomInt(firstSequences);

/** The milliseconds since 1970 in a UUID of version 7 (RFC 9562, section 5.7). */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
