import { describe, expect, it } from "vitest";
import { auditSearch } from "./audit-search.ts";
import { firmwareListSearch } from "./firmware-search.ts";
import { rolloutSearch } from "./rollout-search.ts";

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
    expect(auditSearch({ resource: 4711, actor: true })).toEqual({ resource: "4711", actor: "true" });
  });

  it("know a switch that is on", () => {
    expect(firmwareListSearch({ deleted: true, state: "draft" })).toEqual({ deleted: true, state: "draft" });
    expect(firmwareListSearch({ deleted: false, state: "gone" })).toEqual({});
  });
});
