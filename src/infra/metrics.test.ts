import { afterEach, expect, it, vi } from "vitest";
import { OtaError } from "../errors.ts";
import { systemClock } from "./clock.ts";
import { Metrics } from "./metrics.ts";
import { countStoreCalls } from "./objects/store-metrics.ts";

afterEach(() => {
  vi.useRealTimers();
});

it("what cannot be read has no value, not even an old one, and all else is there", async () => {
  const metrics = new Metrics({ processMetrics: false });
  let isAway = false;
  metrics.observeEach("things", "Things.", ["kind"], async () => {
    if (isAway) throw new Error("the database is away");
    return [[{ kind: "a" }, 7]];
  });
  expect(await metrics.text()).toContain('device_ota_things{kind="a"} 7');
  isAway = true;
  const text = await metrics.text();
  expect(text).not.toContain("device_ota_things{");
  expect(text).toContain("device_ota_ingest_queue_rows 0");
});

it("what is not read in time is not waited for", async () => {
  vi.useFakeTimers();
  const metrics = new Metrics({ processMetrics: false });
  metrics.observeEach("things", "Things.", [], () => new Promise(() => {}));
  const text = metrics.text();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await text).not.toMatch(/^device_ota_things/m);
});

it("calls of the store are counted by how they end", async () => {
  const metrics = new Metrics({ processMetrics: false });
  const watch = countStoreCalls(metrics.store, systemClock);
  const away = new OtaError("unavailable", "STORAGE_UNAVAILABLE", "the object store is away");
  expect(await watch("stat", async () => 1)).toBe(1);
  await expect(watch("read", () => Promise.reject(away))).rejects.toBe(away);
  await expect(watch("read", async () => AbortSignal.abort().throwIfAborted())).rejects.toThrow();
  await expect(watch("put", () => Promise.reject(new Error("what nobody foresaw")))).rejects.toThrow();
  const outcomes = [...(await metrics.text()).matchAll(/_count\{operation="(\w+)",outcome="(\w+)"\} 1/g)];
  expect(outcomes.map(([, operation, outcome]) => `${operation} ${outcome}`).toSorted()).toEqual([
    "put internal",
    "read aborted",
    "read unavailable",
    "stat ok",
  ]);
});
