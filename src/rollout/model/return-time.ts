/**
 * How long a device that began to install may be silent before it is missing, in milliseconds: as long as the rollout's policy
 * says, else five of the intervals in which the device is expected, at least {@link leastReturnMs}.
 */
export function returnTime(policyMs: number | null, expectedIntervalMs: number): number {
  return policyMs ?? Math.max(leastReturnMs, returnIntervals * expectedIntervalMs);
}

/** A time to return that is shorter than so many intervals of a device is too short for it: a heartbeat may be lost. */
export const leastReturnIntervals = 2;

/** A reboot and an installation take some minutes, however often the device beats. */
const leastReturnMs = 5 * 60_000;

const returnIntervals = 5;
