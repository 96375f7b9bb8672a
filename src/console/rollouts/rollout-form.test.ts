import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { HealthAction } from "../../../gen/ota/v1/rollout_pb.js";
import { CreateRolloutRequestSchema } from "../../../gen/ota/v1/rollout_service_pb.js";
import { newRolloutForm, ring, ringsFault, rolloutRequest } from "./rollout-form.ts";

describe("the plan of a rollout", () => {
  it("begins with the contract's own defaults", () => {
    const request = create(CreateRolloutRequestSchema, rolloutRequest(newRolloutForm("f")));
    expect(request.rings.map(({ name, percent }) => `${name} ${percent}`)).toEqual([
      "canary 5",
      "early 25",
      "broad 75",
      "production 100",
    ]);
    expect(request.rings[0]?.gate?.soakDuration?.seconds).toBe(600n);
    expect(request.policy?.deviceTimeout?.seconds).toBe(21_600n);
    expect(request.policy?.offersPerMinute).toBeUndefined();
  });

  it("leaves what is empty to the service, and never takes it for 0", () => {
    const form = { ...newRolloutForm("f"), failureThresholdPercent: "", percent: "", deviceTimeoutHours: "" };
    const { policy, targeting } = create(CreateRolloutRequestSchema, rolloutRequest(form));
    expect(policy?.failureThresholdPercent).toBeUndefined();
    expect(policy?.deviceTimeout).toBeUndefined();
    expect(targeting?.percent).toBeUndefined();
  });

  it("takes everything of targeting and policy to the service", () => {
    const form = {
      ...newRolloutForm("f"),
      canaryGroups: ["lab"],
      percent: 12.5,
      startTime: "2030-01-02T03:04",
      maxMeteredMib: 1.5,
      onWorseHealth: String(HealthAction.PAUSE),
      windows: [{ weekdays: ["7", "6"], start: "02:00", hours: 1.5, timeZone: "Europe/Berlin" }],
    };
    const { policy, targeting } = create(CreateRolloutRequestSchema, rolloutRequest(form));
    expect(targeting).toMatchObject({ canaryGroups: ["lab"], percent: 12.5 });
    expect(policy?.startTime).toEqual(timestampFromDate(new Date(2030, 0, 2, 3, 4)));
    expect(policy).toMatchObject({ maxMeteredBytes: 1_572_864n, onWorseHealth: HealthAction.PAUSE });
    expect(policy?.maintenanceWindows).toMatchObject([
      { weekdays: [6, 7], start: "02:00", duration: { seconds: 5_400n }, timeZone: "Europe/Berlin" },
    ]);
  });

  it.each([
    [[], /at least one/],
    [[ring("canary", 5)], /last ring must reach 100 %/],
    [[ring("a", 50), ring("b", 50)], /share of b must lie above 50 %/],
    [[ring("a", 50), ring("a", 100)], /Two rings/],
    [[ring("two words", 100)], /no name/],
  ])("says what is wrong with rings", (rings, words) => {
    expect(ringsFault(rings)).toMatch(words);
  });

  it("finds nothing wrong with the default rings", () => {
    expect(ringsFault(newRolloutForm("f").rings)).toBeUndefined();
  });
});
