import { bucketCount, bucketOfHash, placeOfHash } from "../model/bucket.ts";
import { isUnsized, type Ring, type RingCensusCounts } from "../model/rollout.ts";
import { ringEnds } from "./ring-ends.ts";

/**
 * How a device stands to a rollout: it has or had the update; it does not need it or never gets it; or it waits for it, and can
 * be reached, is held back by a rule, or is gone.
 */
export type Standing = "had" | "unneeded" | "reachable" | "held_back" | "gone";

interface RingShare {
  readonly percentBasisPoints: number;
}

/**
 * Counts devices by where the hash puts them and how they stand, so that rings of any size can be told afterwards. There may be a
 * million cells, so that those of a standing are made when a device has it.
 */
export class RingCounts {
  readonly #cellsPerBucket: number;
  readonly #byCell = new Map<Standing, Uint32Array>();
  /** Those that are in the first ring wherever it ends. */
  readonly #pinned: Record<Standing, number> = { had: 0, unneeded: 0, reachable: 0, held_back: 0, gone: 0 };
  #lowestAwaited = Number.POSITIVE_INFINITY;

  /** With as many cells to a bucket as rings have to end within. */
  constructor(cellsPerBucket: number) {
    this.#cellsPerBucket = cellsPerBucket;
  }

  /** A device with a hash. */
  add(standing: Standing, hash: number): void {
    const cell = this.#cellsPerBucket === 1 ? bucketOfHash(hash) : placeOfHash(hash);
    let counts = this.#byCell.get(standing);
    if (counts === undefined) {
      counts = this.#noDevices();
      this.#byCell.set(standing, counts);
    }
    counts[cell] = (counts[cell] ?? 0) + 1;
    if (cell < this.#lowestAwaited && awaited.includes(standing)) this.#lowestAwaited = cell;
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
      byCell: rings.some(isUnsized) ? this.#awaited() : new Uint32Array(),
      cellsPerBucket: this.#cellsPerBucket,
    });
  }

  /** The first bucket in which a device waits for the update, of 10,000; undefined if none does. */
  get lowestAwaited(): number | undefined {
    return Number.isFinite(this.#lowestAwaited)
      ? Math.floor(this.#lowestAwaited / this.#cellsPerBucket)
      : undefined;
  }

  #awaited(): Uint32Array {
    const [first, ...others] = awaited.flatMap((standing) => this.#byCell.get(standing) ?? []);
    const sums = first?.slice() ?? this.#noDevices();
    for (const counts of others)
      for (let cell = 0; cell < sums.length; cell++) sums[cell] = (sums[cell] ?? 0) + (counts[cell] ?? 0);
    return sums;
  }

  #noDevices(): Uint32Array {
    return new Uint32Array(bucketCount * this.#cellsPerBucket);
  }

  #perRing(standing: Standing, rings: readonly RingShare[]): number[] {
    const cells = this.#byCell.get(standing) ?? [];
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

/** How devices stand that wait for the update. */
const awaited: readonly Standing[] = ["reachable", "held_back", "gone"];
