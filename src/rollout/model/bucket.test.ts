import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bucketCount,
  bucketOfHash,
  deviceHashes,
  murmur3,
  placeOf,
  placeOfHash,
  placesPerBucket,
  ringOf,
  sampleOf,
  sampleOfHash,
} from "./bucket.ts";

const shares = [500, 2_500, 7_500, 10_000].map((percentBasisPoints) => ({ percentBasisPoints }));

describe("murmur3", () => {
  // Published vectors for MurmurHash3_x86_32 with seed 0.
  it.each([
    ["", 0],
    ["a", 0x3c2569b2],
    ["test", 0xba6bd213],
    ["abc", 0xb3dd93fa],
    ["Hello, world!", 0xc0363e43],
    ["The quick brown fox jumps over the lazy dog", 0x2e4ff723],
  ])("hashes %j", (text, hash) => {
    expect(murmur3(text)).toBe(hash);
  });
});

const bucketOf = (rolloutId: string, deviceId: string) => Math.floor(placeOf(rolloutId, deviceId));

describe("placeOf", () => {
  const rollout = "01890a5d-ac96-774b-bcce-b302099a8057";

  // Frozen: a change here moves devices between rings in the middle of their rollouts.
  it.each([
    [rollout, "01890a5d-ac96-774b-bcce-b302099a0001", 9625],
    [rollout, "01890a5d-ac96-774b-bcce-b302099a0002", 8482],
    [rollout, "00000000-0000-7000-8000-000000000000", 370],
    ["01890a5d-ac96-774b-bcce-b302099a8058", "01890a5d-ac96-774b-bcce-b302099a0001", 2803],
    ["r", "d", 5740],
  ])("puts %s:%s into its bucket", (rolloutId, deviceId, bucket) => {
    expect(bucketOf(rolloutId, deviceId)).toBe(bucket);
  });

  it.each([
    [rollout, "01890a5d-ac96-774b-bcce-b302099a0001", 9625.67],
    [rollout, "00000000-0000-7000-8000-000000000000", 370.59],
    ["r", "d", 5740],
  ])("puts %s:%s into its place within the bucket", (rolloutId, deviceId, place) => {
    expect(placeOf(rolloutId, deviceId)).toBe(place);
  });

  it("lies in its bucket for every value of the hash", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (hash) => {
        expect(Math.floor(placeOfHash(hash) / placesPerBucket)).toBe(bucketOfHash(hash));
      }),
      { examples: [[0], [0xffffffff]] },
    );
  });

  it("spreads devices evenly", () => {
    const devices = 100_000;
    const cells = Array.from({ length: 100 }, () => 0);
    for (let device = 0; device < devices; device++) {
      const cell = Math.floor(bucketOf(rollout, `device-${device}`) / (bucketCount / cells.length));
      cells[cell] = (cells[cell] ?? 0) + 1;
    }
    const expected = devices / cells.length;
    const chiSquare = cells.reduce((sum, cell) => sum + (cell - expected) ** 2 / expected, 0);
    // 99 degrees of freedom: above 149 with a probability of one in a thousand.
    expect(chiSquare).toBeLessThan(149);
  });

  it("chooses other canaries for another rollout", () => {
    const canaries = (rolloutId: string) =>
      new Set(
        Array.from({ length: 10_000 }, (_, device) => `device-${device}`).filter(
          (device) => bucketOf(rolloutId, device) < 500,
        ),
      );
    const both = canaries("first").intersection(canaries("second"));
    // 5 % of 5 % of 10,000 is 25.
    expect(both.size).toBeLessThan(60);
  });
});

describe("ringOf", () => {
  it.each([
    [0, 0],
    [499, 0],
    [500, 1],
    [2_499, 1],
    [7_499, 2],
    [7_500, 3],
    [9_999, 3],
  ])("puts bucket %i into ring %i", (bucket, ring) => {
    expect(ringOf(bucket, shares)).toBe(ring);
  });

  it("leaves out what lies beyond the last share", () => {
    expect(ringOf(7_500, shares.slice(0, 3))).toBe(-1);
  });

  it("never drops a device when a share is widened", () => {
    fc.assert(
      fc.property(
        fc.uuid(),
        fc.uuid(),
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 10_000 }),
        (rolloutId, deviceId, one, other) => {
          const [narrow, wide] = [Math.min(one, other), Math.max(one, other)];
          const isIn = (share: number) =>
            ringOf(bucketOf(rolloutId, deviceId), [{ percentBasisPoints: share }]) === 0;
          expect(!isIn(narrow) || isIn(wide)).toBe(true);
        },
      ),
    );
  });
});

describe("deviceHashes", () => {
  it("gives the hash of each id among the bytes of many", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.array(fc.uuid(), { minLength: 1, maxLength: 5 }), (rolloutId, ids) => {
        const hash = deviceHashes(rolloutId);
        const bytes = Buffer.from(ids.join("").replaceAll("-", ""), "hex");
        for (const [at, id] of ids.entries()) {
          expect(hash(bytes, at * 16)).toBe(murmur3(`${rolloutId}:${id}`));
          expect(bucketOfHash(hash(bytes, at * 16))).toBe(bucketOf(rolloutId, id));
          expect(sampleOfHash(hash(bytes, at * 16))).toBe(sampleOf(rolloutId, id));
        }
      }),
    );
  });
});
