import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AlertSchema } from "../../../gen/ota/v1/alert_pb.js";
import { RemedyAction } from "../../../gen/ota/v1/remedy_pb.js";
import { alertSentence, alertTitle } from "./alert-words.ts";

describe("the words of alerts", () => {
  it("name what a rollout waits for by what helps it, and a rule that they do not know as it is", () => {
    const waiting = { rule: "rollout.stuck", remedies: [{ action: RemedyAction.PROMOTE }] };
    expect(alertTitle(create(AlertSchema, waiting))).toBe("Rollout waits for promotion");
    expect(alertTitle(create(AlertSchema, { rule: "rollout.stuck" }))).toBe("Rollout is stuck");
    expect(alertTitle(create(AlertSchema, { rule: "moon.full" }))).toBe("moon.full");
  });

  it("are a sentence", () => {
    expect(alertSentence(create(AlertSchema, { summary: "3 of 20 devices are offline" }))).toBe(
      "3 of 20 devices are offline.",
    );
    expect(alertSentence(create(AlertSchema, { summary: "rollout x is paused: why?" }))).toBe(
      "Rollout x is paused: why?",
    );
  });
});
