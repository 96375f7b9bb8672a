import { describe, expect, test } from "vitest";
import { planSeries, segmentsOf } from "./series-plan.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const kept = { heartbeats: 0, "5m": 0 };

describe("planSeries", () => {
  test.each([
    [10 * minute, "heartbeats", 2_000],
    [5 * hour, "heartbeats", minute],
    [day, "5m", 5 * minute],
    [7 * day, "1h", hour],
    [30 * day, "1h", 3 * hour],
    [5_000 * day, "1h", 17 * day],
  ])("%i ms in 301 points come from %s, %i ms wide", (span, source, widthMs) => {
    expect(planSeries({ fromMs: 0, toMs: span, maxPoints: 301, keptFromMs: kept })).toEqual({
      source,
      widthMs,
    });
  });

  test("days are counted on the wall clock, and read from what knows where they begin", () => {
    const ahead = 5.5 * hour;
    const question = { fromMs: 10 * day - ahead, toMs: 13 * day - ahead, maxPoints: 3, keptFromMs: kept };
    expect(planSeries(question)).toEqual({ source: "1h", widthMs: 7 * day });
    const aheadMs = { from: ahead, to: ahead };
    expect(planSeries({ ...question, aheadMs })).toEqual({ source: "5m", widthMs: day });
    const dropped = { heartbeats: 20 * day, "5m": 20 * day };
    expect(planSeries({ ...question, aheadMs, keptFromMs: dropped })).toEqual({ source: "1h", widthMs: day });
  });

  test("what only heartbeats know is read from them, however wide", () => {
    const question = { fromMs: 0, toMs: 30 * day, maxPoints: 30, keptFromMs: kept, onlyHeartbeats: true };
    expect(planSeries(question)).toEqual({ source: "heartbeats", widthMs: day });
  });

  test("never more points than asked for, wherever the span begins", () => {
    for (let span = 1_000; span < 400 * day; span = Math.ceil(span * 1.7)) {
      for (const fromMs of [0, 1, 123_456_789]) {
        const { widthMs } = planSeries({ fromMs, toMs: fromMs + span, maxPoints: 100, keptFromMs: kept });
        const points = Math.ceil((fromMs + span) / widthMs) - Math.floor(fromMs / widthMs);
        expect(points).toBeLessThanOrEqual(100);
      }
    }
  });

  test("what a source has dropped is read from the next one", () => {
    const question = { fromMs: 0, toMs: 10 * minute, maxPoints: 300 };
    expect(planSeries({ ...question, keptFromMs: { heartbeats: 1, "5m": 0 } })).toEqual({
      source: "5m",
      widthMs: 5 * minute,
    });
    expect(planSeries({ ...question, keptFromMs: { heartbeats: 2, "5m": 1 } })).toEqual({
      source: "1h",
      widthMs: hour,
    });
  });
});

describe("segmentsOf", () => {
  test("what is not rolled up yet is read from the finer source", () => {
    const rolledUpTo = { "1h": 2 * hour, "5m": 2 * hour + 10 * minute };
    const segments = segmentsOf(
      { source: "1h", widthMs: hour },
      { fromMs: hour, toMs: 3 * hour },
      rolledUpTo,
    );
    expect(segments).toEqual([
      { source: "1h", fromMs: hour, toMs: 2 * hour },
      { source: "5m", fromMs: 2 * hour, toMs: 2 * hour + 10 * minute },
      { source: "heartbeats", fromMs: 2 * hour + 10 * minute, toMs: 3 * hour },
    ]);
  });

  test("a span is read from one source where that has all of it", () => {
    const span = { fromMs: 0, toMs: hour };
    const all = { "1h": day, "5m": day };
    expect(segmentsOf({ source: "5m", widthMs: 300_000 }, span, all)).toEqual([{ source: "5m", ...span }]);
    expect(segmentsOf({ source: "heartbeats", widthMs: 1_000 }, span, all)).toEqual([
      { source: "heartbeats", ...span },
    ]);
  });
});
