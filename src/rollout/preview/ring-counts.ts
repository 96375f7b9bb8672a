import { bucketCount, bucketOfHash, placeOfHash } from "../model/bucket.ts";
import type { Ring, RingCensusCounts } from "../model/rollout.ts";
import { ringEnds } from "./ring-ends.ts";

/**
 * How a device stands to a rollout: it has or had the update; it does not need it or never gets it; or it waits for it, and can
 * be reached, is held back by a rule, or is gone.
 */
export type Standing = "had" | "unneeded" | "reachable" | "held_back" | "gone";

interface RingShare {
  readonly percentBasisPoints: number;
}

/** Counts devices by where the hash puts them and how they stand, so that rings of any size can be told afterwards. */
export class RingCounts {
  readonly #cellsPerBucket: number;
  readonly #byCell: Readonly<Record<Standing, Uint32Array>>;
  /** Those that are in the first ring wherever it ends. */
  readonly #pinned: Record<Standing, number> = standings(() => 0);

  /** With as many cells to a bucket as rings have to end within. */
  constructor(cellsPerBucket: number) {
    this.#cellsPerBucket = cellsPerBucket;
    this.#byCell = standings(() => new Uint32Array(bucketCount * cellsPerBucket));
  }

  /** A device with a hash. */
  add(standing: Standing, hash: number): void {
    const cell = this.#cellsPerBucket === 1 ? bucketOfHash(hash) : placeOfHash(hash);
    const counts = this.#byCell[standing];
    counts[cell] = (counts[cell] ?? 0) + 1;
  }

  /** Devices that are always in the first ring. */
  addPinned(standing: Standing, count: number): void {
    this.#pinned[standing] += count;
  }

  /** How many devices rings of these shares hold, without those of the rings before. */
  of(rings: readonly RingShare[]): RingCensusCounts[] {
    const had = this.#perRing("had", rings);
    const unneeded = this.#perRing("unneeded", rings);
    const reachable = this.#perRing("reachable", rings);
    const heldBack = this.#perRing("held_back", rings);
    const gone = this.#perRing("gone", rings);
    return rings.map((_, at) => {
      const waiting = { reachable: reachable[at] ?? 0, heldBack: heldBack[at] ?? 0, gone: gone[at] ?? 0 };
      const awaited = waiting.reachable + waiting.heldBack + waiting.gone;
      const eligible = awaited + (had[at] ?? 0);
      return { devices: eligible + (unneeded[at] ?? 0), eligible, awaited, ...waiting };
    });
  }

  /** Where the rings end, of 10,000; see {@link ringEnds}. */
  ends(rings: readonly Pick<Ring, "percentBasisPoints" | "deviceTarget">[]): number[] {
    const { reachable, held_back, gone } = this.#pinned;
    return ringEnds(rings, {
      pinned: reachable + held_back + gone,
      byCell: this.#awaited(),
      cellsPerBucket: this.#cellsPerBucket,
    });
  }

  /** The first bucket in which a device waits for the update, of 10,000; undefined if none does. */
  get lowestAwaited(): number | undefined {
    const { reachable, held_back, gone } = this.#byCell;
    const lowest = reachable.findIndex(
      (count, cell) => count > 0 || (held_back[cell] ?? 0) > 0 || (gone[cell] ?? 0) > 0,
    );
    return lowest < 0 ? undefined : Math.floor(lowest / this.#cellsPerBucket);
  }

  #awaited(): Uint32Array {
    const { reachable, held_back, gone } = this.#byCell;
    return reachable.map((count, cell) => count + (held_back[cell] ?? 0) + (gone[cell] ?? 0));
  }

  #perRing(standing: Standing, rings: readonly RingShare[]): number[] {
    const cells = this.#byCell[standing];
    const cellsPerBucket = this.#cellsPerBucket;
    // Each is in the first ring that ends behind it. There may be a million cells to walk, while nothing else goes on.
    let cell = 0;
    return rings.map(({ percentBasisPoints }, at) => {
      let count = at === 0 ? this.#pinned[standing] : 0;
      for (; cell < cells.length && cell / cellsPerBucket < percentBasisPoints; cell++)
        count += cells[cell] ?? 0;
      return count;
    });
  }
}

function standings<T>(make: () => T): Record<Standing, T> {
  return { had: make(), unneeded: make(), reachable: make(), held_back: make(), gone: make() };
}
