import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type GetRolloutDefaultsResponse, RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { newRolloutForm, ring, rolloutRequest } from "../../src/console/rollouts/rollout-form.ts";
import { connectClient, newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** What holds for a rollout that an operator plans in the console, whose requests come by the Connect door. */

let service: TestService;
let client: Client<typeof RolloutService>;
let firmwareId: string;
let defaults: GetRolloutDefaultsResponse;
beforeAll(async () => {
  service = await startTestService({
    settings: {
      DEVICE_OTA_AUTO_ROLLBACK_FAILURE_THRESHOLD: "37.5",
      DEVICE_OTA_ROLLBACK_TIMEOUT_HOURS: "2",
    },
  });
  firmwareId = (await publish(service, newContent(100), { product: "app", version: "1.0.0" })).id;
  client = connectClient(service, RolloutService, service.adminToken);
  defaults = await client.getRolloutDefaults({});
});
afterAll(() => service[Symbol.asyncDispose]());

it("tells what the settings and the contract give", () => {
  expect(defaults.policy).toMatchObject({
    failureThresholdPercent: 37.5,
    deviceTimeout: durationFromMs(2 * 3_600_000),
    verificationDuration: durationFromMs(5 * 60_000),
    storageFactor: 1.5,
  });
  expect(defaults.policy?.offersPerMinute).toBeUndefined();
  expect(defaults.rings.map(({ name, percent }) => [name, percent])).toEqual([
    ["canary", 5],
    ["early", 25],
    ["broad", 75],
    ["production", 100],
  ]);
  expect(defaults.gate).toMatchObject({ minSample: 1, minSuccessPercent: 90 });
});

it("gives a rollout of the console what the settings say, as long as the operator does not", async () => {
  const form = newRolloutForm(firmwareId, defaults);
  const { rollout: untouched } = await client.createRollout(rolloutRequest(form, defaults));
  expect(untouched?.policy).toEqual(defaults.policy);
  expect(untouched?.rings.map(({ name, percent, gate }) => ({ name, percent, gate }))).toEqual(
    defaults.rings.map(({ name, percent, gate }) => ({ name, percent, gate })),
  );

  const policy = { ...form.policy, failureThresholdPercent: 5, crashLimit: 2 };
  const { rollout: touched } = await client.createRollout(rolloutRequest({ ...form, policy }, defaults));
  expect(touched?.policy).toEqual({ ...defaults.policy, failureThresholdPercent: 5, crashLimit: 2 });
});

it("takes a rollout of the console for a part of the fleet", async () => {
  const form = { ...newRolloutForm(firmwareId, defaults), rings: [ring("pilot", 12.5)] };
  const { rollout } = await client.createRollout(rolloutRequest(form, defaults));
  expect(rollout?.rings.map(({ name, percent }) => [name, percent])).toEqual([["pilot", 12.5]]);
  expect(rollout?.rings[0]?.gate).toEqual(defaults.gate);
});
