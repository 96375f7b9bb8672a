import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
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
