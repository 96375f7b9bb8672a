import { bucketCount } from "../model/bucket.ts";
import { isUnsized, type Ring } from "../model/rollout.ts";

/** How many devices wait for the update, by where the hash puts them. */
export interface Waiting {
  /** Devices that are in the first ring whatever their place. */
  readonly pinned: number;
  /** By place: as many cells to a bucket as `cellsPerBucket` says. */
  readonly byCell: Uint32Array;
  readonly cellsPerBucket: number;
}

/**
 * Where the rings of a rollout end, of 10,000. One that is to hold so many devices ends behind the lowest places that, with
 * what is pinned, hold as many that wait; if there are not as many, it is for all. No ring ends before the one ahead of it,
 * so that one that would hold fewer devices holds none of its own.
 */
export function ringEnds(
  rings: readonly Pick<Ring, "percentBasisPoints" | "deviceTarget">[],
  waiting: Waiting,
): number[] {
  let last = 0;
  return rings.map((ring) => {
    const end = isUnsized(ring) ? endOf(ring.deviceTarget ?? 0, waiting) : ring.percentBasisPoints;
    last = Math.max(last, end);
    return last;
  });
}

function endOf(target: number, { pinned, byCell, cellsPerBucket }: Waiting): number {
  let held = pinned;
  // One cell at least: a ring that ends at 0 has no size yet.
  for (let cell = 0; cell < byCell.length; cell++) {
    held += byCell[cell] ?? 0;
    if (held >= target) return (cell + 1) / cellsPerBucket;
  }
  return bucketCount;
}
