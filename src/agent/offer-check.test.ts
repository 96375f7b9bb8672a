import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { OfferSchema } from "../../gen/ota/v1/update_service_pb.js";
import type { AgentFailure } from "./agent-failure.ts";
import { type OfferTarget, verifyOffer } from "./offer-check.ts";

const target: OfferTarget = {
  deviceType: "lamp",
  hardwareModel: "l-1",
  version: "1.1.0",
  securityFloor: 0,
  hasRun: () => false,
  product: undefined,
  maxSizeBytes: 1000,
  now: undefined,
};

function outcome(offered: string, running: string): string {
  const offer = create(OfferSchema, {
    updateId: "11111111-1111-7111-8111-111111111111",
    version: offered,
    component: "nav",
    sha256: "a".repeat(64),
    sizeBytes: 1n,
  });
  try {
    verifyOffer(offer, { ...target, version: running }, { keys: new Map(), allowUnsigned: true });
    return "taken";
  } catch (error) {
    return (error as AgentFailure).reason;
  }
}

it.each([
  ["1.2.0", "1.1.0", "taken"],
  ["1.0.0", "1.1.0", "DOWNGRADE_REFUSED"],
  ["1.0.0", "v1.1.0+git.abc", "DOWNGRADE_REFUSED"],
  ["1.1.0", "v1.1.0+git.abc", "taken"],
  ["1.1.0", "", "taken"],
  // Only the service knows which version that is.
  ["1.1.0", "2024.08.1", "taken"],
  ["34105904", "1.1.0", "INVALID_VERSION"],
])("an offer of %s to what runs %j: %s", (offered, running, expected) => {
  expect(outcome(offered, running)).toBe(expected);
});
