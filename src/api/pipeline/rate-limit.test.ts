import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { RateLimiter } from "./rate-limit.ts";

function limiter(calls: number, periodMs: number, clock = new FakeClock()) {
  const limit = { calls, periodMs };
  const none = undefined;
  const limits = {
    enrol: none,
    heartbeat: limit,
    update_check: none,
    download: none,
    device: none,
    device_read: none,
    operator: none,
    sign_in: none,
    probe: none,
    page: none,
    credential: none,
    refusal: none,
  };
  return { clock, limiter: new RateLimiter(limits, clock, new Set(["heartbeat"])) };
}

describe("RateLimiter", () => {
  it("lets a quiet caller make all its calls at once, and the next ones a period later", () => {
    const { clock, limiter: rates } = limiter(10, 60_000);
    for (let i = 0; i < 10; i++) expect(rates.consume("heartbeat", "a").ok).toBe(true);
    expect(rates.consume("heartbeat", "a")).toEqual({ ok: false, retryAfterMs: 60_001 });
    clock.advance(60_000);
    expect(rates.consume("heartbeat", "a")).toEqual({ ok: false, retryAfterMs: 1 });
    clock.advance(1);
    for (let i = 0; i < 10; i++) expect(rates.consume("heartbeat", "a").ok).toBe(true);
    expect(rates.consume("heartbeat", "a").ok).toBe(false);
  });

  it("lets a steady caller come to nineteen twentieths of the limit, over many periods", () => {
    const { clock, limiter: rates } = limiter(100, 60_000);
    let passed = 0;
    for (let ms = 0; ms < 20 * 60_000; ms += 300) {
      if (rates.consume("heartbeat", "a").ok) passed++;
      clock.advance(300);
    }
    expect(passed).toBeGreaterThanOrEqual(20 * 95);
    expect(passed).toBeLessThanOrEqual(20 * 100);
  });

  it("lets no period have more calls than the limit, wherever it begins, and tells when the next one fits", () => {
    const step = fc.record({
      pauseMs: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 2_500 })),
      points: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(step, { minLength: 1, maxLength: 200 }),
        (calls, steps) => {
          const periodMs = 1_000;
          const { clock, limiter: rates } = limiter(calls, periodMs);
          const passed: { atMs: number; points: number }[] = [];
          const told: { early: boolean; inTime: boolean }[] = [];
          for (const { pauseMs, points } of steps) {
            clock.advance(pauseMs);
            let verdict = rates.consume("heartbeat", "a", points);
            if (!verdict.ok && points % 2 === 0) {
              clock.advance(verdict.retryAfterMs - 1);
              const early = rates.consume("heartbeat", "a", points);
              clock.advance(1);
              verdict = rates.consume("heartbeat", "a", points);
              told.push({ early: early.ok, inTime: verdict.ok });
            }
            if (verdict.ok) passed.push({ atMs: clock.monotonicMs(), points: Math.min(points, calls) });
          }
          for (const each of told) expect(each).toEqual({ early: false, inTime: true });
          for (const { atMs } of passed) {
            const within = passed.filter((each) => each.atMs >= atMs && each.atMs <= atMs + periodMs);
            expect(within.reduce((sum, { points }) => sum + points, 0)).toBeLessThanOrEqual(calls);
          }
        },
      ),
    );
  });

  it("counts callers and classes apart, and knows no limit where none is set", () => {
    const { limiter: rates } = limiter(1, 60_000);
    expect(rates.consume("heartbeat", "a").ok).toBe(true);
    expect(rates.consume("heartbeat", "b").ok).toBe(true);
    expect(rates.consume("heartbeat", "a").ok).toBe(false);
    for (let i = 0; i < 100; i++) expect(rates.consume("operator", "a").ok).toBe(true);
  });

  it("takes several points at once, all or none", () => {
    const { clock, limiter: rates } = limiter(10, 10_000);
    expect(rates.consume("heartbeat", "a", 8).ok).toBe(true);
    expect(rates.consume("heartbeat", "a", 3)).toEqual({ ok: false, retryAfterMs: 10_001 });
    expect(rates.consume("heartbeat", "a", 2).ok).toBe(true);
    clock.advance(10_001);
    expect(rates.consume("heartbeat", "a", 1_000).ok).toBe(true);
    expect(rates.consume("heartbeat", "a", 1).ok).toBe(false);
  });

  it("forgets callers that were quiet for two periods", () => {
    const { clock, limiter: rates } = limiter(10, 1_000);
    for (let i = 0; i < 1_000; i++) rates.consume("heartbeat", `key ${i}`);
    expect(rates.size).toBe(1_000);
    clock.advance(1_000);
    rates.consume("heartbeat", "a");
    clock.advance(1_000);
    rates.consume("heartbeat", "a");
    expect(rates.size).toBeLessThanOrEqual(2);
  });

  it("stays bounded under a flood of keys", () => {
    const { limiter: rates } = limiter(10, 3_600_000);
    for (let i = 0; i < 1_200_000; i++) rates.consume("heartbeat", String(i));
    expect(rates.size).toBeLessThanOrEqual(1_000_000);
  });
});

describe("RateLimiter of several replicas", () => {
  it("counts what others let through as its own", () => {
    const { clock, limiter: one } = limiter(10, 60_000);
    const { limiter: other } = limiter(10, 60_000, clock);
    one.consume("heartbeat", "a", 4);
    one.consume("heartbeat", "a", 3);
    one.consume("heartbeat", "b", 1);
    clock.advance(5_000);
    for (const calls of one.untold()) other.hear(calls, 5_000);
    expect(one.untold()).toEqual([]);
    for (let i = 0; i < 3; i++) expect(other.consume("heartbeat", "a").ok).toBe(true);
    expect(other.consume("heartbeat", "a")).toEqual({ ok: false, retryAfterMs: 55_001 });
    expect(other.check("heartbeat", "b").ok).toBe(true);
    // What was heard is told no further.
    expect(other.untold()).toEqual([{ rate: "heartbeat", key: "a", calls: 3 }]);
  });

  it("forgets what it heard a period after the call, and does not hear what is older", () => {
    const { clock, limiter: rates } = limiter(10, 60_000);
    rates.hear({ rate: "heartbeat", key: "a", calls: 10 }, 60_001);
    expect(rates.check("heartbeat", "a").ok).toBe(true);
    rates.hear({ rate: "heartbeat", key: "a", calls: 10 }, 20_000);
    expect(rates.check("heartbeat", "a")).toEqual({ ok: false, retryAfterMs: 40_001 });
    clock.advance(40_001);
    expect(rates.check("heartbeat", "a").ok).toBe(true);
  });

  it("takes from the next periods what came to several at once, and says when that is over", () => {
    const { clock, limiter: rates } = limiter(10, 60_000);
    rates.consume("heartbeat", "a", 10);
    rates.hear({ rate: "heartbeat", key: "a", calls: 15 }, 0);
    // 10 of this period, 10 of the next one, and 5 of the one after: then there is room for 5.
    const first = rates.consume("heartbeat", "a", 5);
    expect(first).toEqual({ ok: false, retryAfterMs: 120_001 });
    clock.advance(60_001);
    expect(rates.check("heartbeat", "a").ok).toBe(false);
    clock.advance(60_000);
    expect(rates.consume("heartbeat", "a", 6).ok).toBe(false);
    expect(rates.consume("heartbeat", "a", 5).ok).toBe(true);
    expect(rates.consume("heartbeat", "a").ok).toBe(false);
  });

  it("lets through no more in the long run than one replica would, whoever calls which when", () => {
    const step = fc.record({
      pauseMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 400 })),
      replica: fc.integer({ min: 0, max: 2 }),
      calls: fc.integer({ min: 1, max: 30 }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(step, { minLength: 1, maxLength: 150 }),
        (calls, steps) => {
          const periodMs = 1_000;
          const clock = new FakeClock();
          const replicas = [0, 1, 2].map(() => limiter(calls, periodMs, clock).limiter);
          const startedMs = clock.monotonicMs();
          let sinceExchangeMs = 0;
          let passed = 0;
          for (const { pauseMs, replica, calls: tries } of steps) {
            clock.advance(pauseMs);
            sinceExchangeMs += pauseMs;
            if (sinceExchangeMs >= 200) {
              sinceExchangeMs = 0;
              const told = replicas.map((each) => each.untold());
              for (const [from, counted] of told.entries())
                for (const [to, each] of replicas.entries())
                  if (to !== from) for (const taken of counted) each.hear(taken, 100);
            }
            for (let i = 0; i < tries; i++)
              if (replicas[replica]?.consume("heartbeat", "a").ok === true) passed++;
          }
          const periods = Math.floor((clock.monotonicMs() - startedMs) / periodMs) + 1;
          // At the end each of them may have let through what the others have not heard of.
          expect(passed).toBeLessThanOrEqual(calls * (periods + replicas.length - 1));
        },
      ),
    );
  });
});
