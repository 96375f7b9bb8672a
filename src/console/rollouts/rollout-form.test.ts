import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { HealthAction } from "../../../gen/ota/v1/rollout_pb.js";
import {
  CreateRolloutRequestSchema,
  GetRolloutDefaultsResponseSchema,
} from "../../../gen/ota/v1/rollout_service_pb.js";
import { defaultRings } from "../../policy/gate-fields.ts";
import { newRolloutForm, ring, ringsFault, rolloutRequest } from "./rollout-form.ts";

const defaults = create(GetRolloutDefaultsResponseSchema, { rings: [...defaultRings] });

describe("the plan of a rollout", () => {
  it("begins with the rings that the service names, and says nothing that nobody touched", () => {
    const form = newRolloutForm("f", defaults);
    expect(form.rings.map(({ name, percent }) => `${name} ${percent}`)).toEqual([
      "canary 5",
      "early 25",
      "broad 75",
      "production 100",
    ]);
    const request = create(CreateRolloutRequestSchema, rolloutRequest(form, defaults));
    expect(request).toEqual(
      create(CreateRolloutRequestSchema, { firmwareId: "f", targeting: {}, policy: {}, rings: [] }),
    );
  });

  it("sends all rings once one was touched, and of their gates what was touched", () => {
    const form = newRolloutForm("f", defaults);
    const [canary, ...others] = form.rings;
    if (canary === undefined) throw new Error("no ring");
    const gate = { ...canary.gate, soakMs: 0, requireApproval: true };
    const { rings = [] } = rolloutRequest({ ...form, rings: [{ ...canary, gate }, ...others] }, defaults);
    expect(rings).toEqual([
      { name: "canary", percent: 5, gate: { soakDuration: durationFromMs(0), requireApproval: true } },
      { name: "early", percent: 25, gate: {} },
      { name: "broad", percent: 75, gate: {} },
      { name: "production", percent: 100, gate: {} },
    ]);
  });

  it("asks for so many devices where that is written, and takes them beside shares", () => {
    const form = newRolloutForm("f", defaults);
    const rings = [
      { ...ring("canary", 5), devices: 10 },
      ring("early", 1),
      { ...ring("more", 5), devices: 10 },
    ];
    expect(ringsFault(rings.slice(0, 2))).toBeUndefined();
    expect(ringsFault(rings)).toBe("more must hold more than 10 devices, and at most 1000000.");
    expect(rolloutRequest({ ...form, rings: rings.slice(0, 2) }, defaults).rings).toEqual([
      { name: "canary", devices: 10, gate: {} },
      { name: "early", percent: 1, gate: {} },
    ]);
  });

  it("leaves what is empty to the service, and never takes it for 0", () => {
    const empty = newRolloutForm("f", defaults);
    const fields = { ...empty.policy, failureThresholdPercent: "", deviceTimeoutMs: "" };
    const form = { ...empty, percent: "", policy: fields };
    const { policy, targeting } = create(CreateRolloutRequestSchema, rolloutRequest(form, defaults));
    expect(policy?.failureThresholdPercent).toBeUndefined();
    expect(policy?.deviceTimeout).toBeUndefined();
    expect(targeting?.percent).toBeUndefined();
  });

  it("takes everything of targeting and policy to the service", () => {
    const empty = newRolloutForm("f", defaults);
    const form = {
      ...empty,
      canaryGroups: ["lab"],
      percent: 12.5,
      policy: {
        ...empty.policy,
        startAt: "2030-01-02T03:04",
        maxMeteredBytes: 1.5,
        onWorseHealth: "PAUSE",
        verificationMs: 0.5,
        deviceTimeoutMs: 1.5,
        requireUserConsent: true,
      },
      windows: [{ weekdays: ["7", "6"], start: "02:00", hours: 1.5, timeZone: "Europe/Berlin" }],
    };
    const { policy, targeting } = create(CreateRolloutRequestSchema, rolloutRequest(form, defaults));
    expect(targeting).toMatchObject({ canaryGroups: ["lab"], percent: 12.5 });
    expect(policy?.startTime).toEqual(timestampFromDate(new Date(2030, 0, 2, 3, 4)));
    expect(policy).toMatchObject({ maxMeteredBytes: 1_572_864n, onWorseHealth: HealthAction.PAUSE });
    expect(policy).toMatchObject({
      verificationDuration: durationFromMs(30_000),
      deviceTimeout: durationFromMs(5_400_000),
      requireUserConsent: true,
    });
    expect(policy?.maintenanceWindows).toMatchObject([
      { weekdays: [6, 7], start: "02:00", duration: { seconds: 5_400n }, timeZone: "Europe/Berlin" },
    ]);
  });

  it.each([
    [[], /at least one/],
    [[ring("a", 50), ring("b", 50)], /share of b must lie above 50 %/],
    [[ring("a", 50), ring("a", 100)], /Two rings/],
    [[ring("two words", 100)], /no name/],
  ])("says what is wrong with rings", (rings, words) => {
    expect(ringsFault(rings)).toMatch(words);
  });

  it.each([[newRolloutForm("f", defaults).rings], [[ring("pilot", 50)]]])(
    "finds nothing wrong with what the service accepts",
    (rings) => {
      expect(ringsFault(rings)).toBeUndefined();
    },
  );
});
