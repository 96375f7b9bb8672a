import { describe, expect, it } from "vitest";
import { CreateRolloutRequestSchema } from "../../../gen/ota/v1/rollout_service_pb.js";
import { invalidArgument } from "../../errors.ts";
import { inCallerNotation } from "./caller-notation.ts";

describe("inCallerNotation", () => {
  it.each([
    ["firmware_id", {}, "firmwareId"],
    ["firmware_id", { firmwareId: 1 }, "firmwareId"],
    ["firmware_id", { firmware_id: 1 }, "firmware_id"],
    ["targeting.device_types[1]", { targeting: { deviceTypes: [] } }, "targeting.deviceTypes[1]"],
    ["targeting.device_types[1]", { targeting: { device_types: [] } }, "targeting.device_types[1]"],
    ["rings[1].gate.min_sample", { rings: [{}, { gate: { min_sample: 1 } }] }, "rings[1].gate.min_sample"],
    [
      "rings[1].gate.soak_duration",
      { rings: [{}, { gate: { min_sample: 1 } }] },
      "rings[1].gate.soakDuration",
    ],
    ['metadata["a.b_c]"]', { metadata: { "a.b_c]": 1 } }, 'metadata["a.b_c]"]'],
    ["no_such_field.of_it", {}, "no_such_field.of_it"],
    ["rings[", {}, "rings["],
    ["", {}, ""],
  ])("names %s of %j as %s", (field, written, expected) => {
    const error = inCallerNotation(invalidArgument(field, "is wrong"), CreateRolloutRequestSchema, written);
    expect(error).toMatchObject({
      message: `${expected}: is wrong`,
      fields: [{ field: expected, description: "is wrong" }],
      metadata: { field: expected },
    });
  });
});
