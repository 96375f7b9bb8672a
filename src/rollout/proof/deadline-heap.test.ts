import fc from "fast-check";
import { expect, it } from "vitest";
import { DeadlineHeap } from "./deadline-heap.ts";

it("hands out what is due, earliest first, and nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1_000)), fc.nat(1_000), (times, nowMs) => {
      const heap = new DeadlineHeap<{ atMs: number }>();
      for (const atMs of times) heap.push({ atMs });
      const taken: number[] = [];
      for (let item = heap.takeDue(nowMs); item !== undefined; item = heap.takeDue(nowMs))
        taken.push(item.atMs);
      const due = times.filter((atMs) => atMs <= nowMs).sort((a, b) => a - b);
      expect(taken).toEqual(due);
      expect(heap.size).toBe(times.length - due.length);
      expect(heap.peek()?.atMs ?? Number.POSITIVE_INFINITY).toBeGreaterThan(nowMs);
    }),
  );
});
