import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { HealthAction } from "../../gen/ota/v1/rollout_pb.js";
import { addRolloutOptions, type RolloutOptions, rolloutParts } from "./rollout-options.ts";

function partsOf(...args: string[]) {
  const command = addRolloutOptions(new Command().exitOverride());
  command.parse(args, { from: "user" });
  return rolloutParts(command.opts<RolloutOptions>());
}

describe("rolloutParts", () => {
  it("leaves everything to the service's defaults", () => {
    expect(partsOf()).toEqual({});
  });

  it("sends only the parts of the policy that were given", () => {
    expect(partsOf("--failure-threshold", "0", "--verify-for", "30s", "--pause-on-failure").policy).toEqual({
      failureThresholdPercent: 0,
      verificationDuration: durationFromMs(30_000),
      pauseOnFailure: true,
    });
  });

  it("gives a gate to the default rings, and leaves the rest of it to the service", () => {
    const rings = partsOf("--gate-soak", "1m").rings ?? [];
    expect(rings.map(({ name, percent }) => [name, percent])).toEqual([
      ["canary", 5],
      ["early", 25],
      ["broad", 75],
      ["production", 100],
    ]);
    expect(rings[3]?.gate).toEqual({ soakDuration: durationFromMs(60_000) });
  });

  it("asks for approval and for health, and says what bad health leads to", () => {
    const args = ["--gate-approval", "--gate-health", "--on-worse-health", "pause", "--health-alpha", "0.05"];
    const parts = partsOf(...args);
    expect(parts.rings?.map(({ gate }) => gate)).toEqual(
      Array(4).fill({ requireApproval: true, requireNoWorseHealth: true }),
    );
    expect(parts.policy).toEqual({ onWorseHealth: HealthAction.PAUSE, healthAlpha: 0.05 });
    expect(() => partsOf("--health-alpha", "1")).toThrow("0.0001 to 0.2");
    expect(() => partsOf("--on-worse-health", "cry")).toThrow("rollback");
  });

  it("leaves the gates of named rings to the service", () => {
    expect(partsOf("--rings", "lab=10,all=100").rings).toEqual([
      { name: "lab", percent: 10 },
      { name: "all", percent: 100 },
    ]);
  });

  it("targets by type, group and version", () => {
    const { targeting } = partsOf("--device-type", "a,b", "--group", "beta", "--from-versions", ">=1.0.0");
    expect(targeting).toEqual({
      deviceTypes: ["a", "b"],
      hardwareModels: [],
      tags: [],
      filter: "",
      excludedGroups: [],
      canaryGroups: [],
      groups: ["beta"],
      currentVersionRange: ">=1.0.0",
    });
  });
});
