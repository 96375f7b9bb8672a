import { describe, expect, it } from "vitest";
import { deviceListSearch } from "../devices/device-search.ts";
import { rolloutSearch } from "../rollouts/rollout-search.ts";

describe("search parameters", () => {
  it("keep what a page knows and drop the rest", () => {
    expect(rolloutSearch({ devices: "failed", ring: "canary", reason: "CRASH_LOOP", x: 1 })).toEqual({
      devices: "failed",
      ring: "canary",
      reason: "CRASH_LOOP",
    });
    expect(rolloutSearch({ devices: "all of them", ring: "", reason: null })).toEqual({});
  });

  it("take numbers, which the address bar cannot tell from texts, as texts", () => {
    expect(deviceListSearch({ serial: 4711, retired: true, order: "battery_percent" })).toEqual({
      serial: "4711",
      retired: true,
      order: "battery_percent",
    });
  });
});
