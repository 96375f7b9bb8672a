import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ringEnds } from "./ring-ends.ts";

const cells = 10_000;

describe("the ends of rings", () => {
  it("hold as many as were asked for, or all, and never fall", () => {
    const ring = fc.oneof(
      fc.record({
        deviceTarget: fc.constant(undefined),
        percentBasisPoints: fc.integer({ min: 1, max: 10_000 }),
      }),
      fc.record({ deviceTarget: fc.integer({ min: 1, max: 60 }), percentBasisPoints: fc.constant(0) }),
    );
    const places = fc.array(fc.nat(cells - 1), { maxLength: 50 });
    fc.assert(
      fc.property(
        fc.array(ring, { minLength: 1, maxLength: 4 }),
        places,
        fc.nat(5),
        (rings, taken, pinned) => {
          const byCell = new Uint32Array(cells);
          for (const place of taken) byCell[place] = (byCell[place] ?? 0) + 1;
          const ends = ringEnds(rings, { pinned, byCell, cellsPerBucket: 1 });
          expect(ends).toEqual(ends.toSorted((a, b) => a - b));
          for (const [at, { deviceTarget, percentBasisPoints }] of rings.entries()) {
            const end = ends[at] ?? 0;
            expect(end).toBeGreaterThanOrEqual(percentBasisPoints);
            const held = pinned + taken.filter((place) => place < end).length;
            expect(held).toBeGreaterThanOrEqual(Math.min(deviceTarget ?? 0, pinned + taken.length));
          }
        },
      ),
    );
  });

  it("hold exactly as many where no two devices share a place, and stay where they were put", () => {
    const byCell = new Uint32Array(cells * 100);
    for (const place of [5, 7, 900]) byCell[place] = 1;
    const waiting = { pinned: 1, byCell, cellsPerBucket: 100 };
    const asked = (deviceTarget: number, percentBasisPoints = 0) => ({ deviceTarget, percentBasisPoints });
    expect(ringEnds([asked(2), asked(3), asked(4), asked(5)], waiting)).toEqual([0.06, 0.08, 9.01, 10_000]);
    expect(ringEnds([asked(2, 3.5)], waiting)).toEqual([3.5]);
    expect(ringEnds([asked(1)], waiting)).toEqual([0.01]);
  });
});
