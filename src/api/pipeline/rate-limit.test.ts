import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { RateLimiter } from "./rate-limit.ts";

function limiter(calls: number, periodMs: number) {
  const clock = new FakeClock();
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
  };
  return { clock, limiter: new RateLimiter(limits, clock) };
}

describe("RateLimiter", () => {
  it("lets a quiet caller make all its calls at once, then one at a time", () => {
    const { clock, limiter: rates } = limiter(10, 60_000);
    for (let i = 0; i < 10; i++) expect(rates.consume("heartbeat", "a").ok).toBe(true);
    expect(rates.consume("heartbeat", "a")).toEqual({ ok: false, retryAfterMs: 6_000 });
    clock.advance(5_999);
    expect(rates.consume("heartbeat", "a")).toEqual({ ok: false, retryAfterMs: 1 });
    clock.advance(1);
    expect(rates.consume("heartbeat", "a").ok).toBe(true);
    expect(rates.consume("heartbeat", "a").ok).toBe(false);
  });

  it("keeps the rate over many periods, across its turns", () => {
    const { clock, limiter: rates } = limiter(10, 60_000);
    let passed = 0;
    for (let ms = 0; ms < 20 * 60_000; ms += 500) {
      if (rates.consume("heartbeat", "a").ok) passed++;
      clock.advance(500);
    }
    expect(passed).toBeGreaterThanOrEqual(200);
    expect(passed).toBeLessThanOrEqual(210);
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
    expect(rates.consume("heartbeat", "a", 3)).toEqual({ ok: false, retryAfterMs: 1_000 });
    expect(rates.consume("heartbeat", "a", 2).ok).toBe(true);
    clock.advance(10_000);
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
