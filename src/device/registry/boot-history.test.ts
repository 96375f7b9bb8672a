import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BootHistory, noBoots, withSighting } from "./boot-history.ts";

const minute = 60_000;
const bounds = { windowMs: 24 * 60 * minute };

/** How often a boot came back in a story: each step is a boot id, at one minute after the other. */
function returns(story: string): number {
  return after(Array.from(story).map((bootId, index) => ({ bootId, atMs: index * minute }))).returnsMs.length;
}

function after(
  sightings: readonly { bootId: string; atMs: number; startedAtMs?: number | undefined }[],
): BootHistory {
  return sightings.reduce(
    (history, sighting) => withSighting(history, { startedAtMs: undefined, ...sighting }, bounds),
    noBoots,
  );
}

describe("the boots of an honest device", () => {
  it("follow each other, each as often as it likes", () => {
    expect(returns("AAABBBBCDDDE")).toBe(0);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 40 }), (lengths) => {
        const story = lengths.flatMap((length, boot) =>
          Array.from({ length }, (_, index) => ({
            bootId: `boot ${boot}`,
            atMs: (boot * 5 + index) * minute,
          })),
        );
        expect(after(story).returnsMs).toEqual([]);
      }),
    );
  });

  it("may come back once with a saved state, and not at all if its uptime shows that", () => {
    expect(returns("AAABBA")).toBe(1);
    const restored = after([
      { bootId: "A", atMs: 0, startedAtMs: -minute },
      { bootId: "B", atMs: 60 * minute, startedAtMs: 59 * minute },
      // As it was when its state was saved, an hour ago.
      { bootId: "A", atMs: 61 * minute, startedAtMs: 60 * minute },
      { bootId: "C", atMs: 90 * minute, startedAtMs: 89 * minute },
      { bootId: "A", atMs: 91 * minute, startedAtMs: 90 * minute },
    ]);
    expect(restored.returnsMs).toEqual([]);
  });

  it("may be counted by a counter that begins again, if its uptime does", () => {
    const days = Array.from({ length: 12 }, (_, day) => ({
      bootId: `${(day % 3) + 1}`,
      atMs: day * 24 * 60 * minute,
      startedAtMs: day * 24 * 60 * minute - minute,
    }));
    expect(after(days).returnsMs).toEqual([]);
  });

  it("tell nothing by a hello alone, if they tell uptimes", () => {
    const history = after([
      { bootId: "A", atMs: 0, startedAtMs: 0 },
      { bootId: "B", atMs: 60 * minute, startedAtMs: 59 * minute },
    ]);
    expect(after([]).boots).toEqual([]);
    const hello = { bootId: "A", atMs: 61 * minute, startedAtMs: undefined };
    expect(withSighting(history, hello, bounds)).toBe(history);
  });
});

describe("two boots at the same time", () => {
  it("come back in turns", () => {
    expect(returns("AAABBBA")).toBe(1);
    expect(returns("ABABABAB")).toBe(6);
    expect(returns("ABCABCABC")).toBe(6);
  });

  it("are seen though one of them makes up a new boot each time", () => {
    expect(returns("A1A2A3A4")).toBe(3);
  });

  it("are seen by the uptime of the honest one, whatever the other tells", () => {
    const told = after(
      Array.from({ length: 6 }, (_, index) => [
        { bootId: "A", atMs: (2 * index + 1) * minute, startedAtMs: index % 2 },
        { bootId: "B", atMs: (2 * index + 2) * minute, startedAtMs: index * 60 * minute },
      ]).flat(),
    );
    expect(told.returnsMs).toHaveLength(5);
  });

  it("are forgotten after the window", () => {
    const history = after([
      ...Array.from("ABAB").map((bootId, index) => ({ bootId, atMs: index * minute })),
      { bootId: "C", atMs: bounds.windowMs + 10 * minute },
    ]);
    expect(history.returnsMs).toEqual([]);
  });

  it("are kept in a bounded history, however many there are", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 400 }), (ids) => {
        const history = after(ids.map((id, index) => ({ bootId: `${id}`, atMs: index })));
        expect(history.boots.length).toBeLessThanOrEqual(16);
        expect(history.returnsMs.length).toBeLessThanOrEqual(100);
      }),
    );
  });
});
