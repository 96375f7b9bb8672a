import type { Ring, RingCensusCounts } from "../model/rollout.ts";

/** How many devices each ring holds, and where the first one waits for the update. */
export interface Places {
  readonly rings: readonly RingCensusCounts[];
  /** Where each ring ends, of 10,000: also those that have no size yet. */
  readonly ends: readonly number[];
  /** The first place at which a device waits for the update, of 10,000; undefined if none does. */
  readonly lowestAwaited: number | undefined;
}

/**
 * How far the first ring has to reach, of 10,000, to hold a device, while no further ring is open; undefined if it is wide
 * enough, or nobody waits.
 */
export function widenedReach(
  rings: readonly Pick<Ring, "percentBasisPoints" | "counters" | "state">[],
  { rings: counts, lowestAwaited }: Places,
): number | undefined {
  const [first] = rings;
  if (first === undefined || rings.slice(1).some(({ state }) => state !== "WAITING")) return undefined;
  if (lowestAwaited === undefined || first.counters.offered > 0 || (counts[0]?.awaited ?? 0) > 0)
    return undefined;
  const reach = lowestAwaited + 1;
  const last = rings.at(-1)?.percentBasisPoints ?? 0;
  return reach > first.percentBasisPoints && reach <= last ? reach : undefined;
}

/** The rings with the first one as wide. Those whose share it now exceeds end where it does, and so hold nobody. */
export function widenedRings<R extends Pick<Ring, "percentBasisPoints">>(
  rings: readonly R[],
  reach: number,
): R[] {
  return rings.map((ring) => ({ ...ring, percentBasisPoints: Math.max(ring.percentBasisPoints, reach) }));
}
