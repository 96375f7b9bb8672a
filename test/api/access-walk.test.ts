import { expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { bidiStream, serverStream, unary } from "../../src/api/pipeline/endpoint.ts";
import { walkAccess } from "./access-walk.ts";
import { openDoors } from "./doors.ts";

it("lets in exactly those whom the table names, at every method", async () => {
  await using doors = await openDoors({
    services: [AccessService, HeartbeatService, RolloutService],
    endpoints: [
      unary(
        AccessService.method.createToken,
        { access: { role: "admin" }, rate: "operator" },
        async () => ({}),
      ),
      unary(
        AccessService.method.whoAmI,
        { access: { role: "viewer", device: true }, rate: "operator" },
        async () => ({}),
      ),
      unary(
        AccessService.method.listTokens,
        { access: { role: "operator" }, rate: "operator" },
        async () => ({}),
      ),
      unary(
        HeartbeatService.method.sendHeartbeat,
        { access: { device: true }, rate: "heartbeat" },
        async () => ({}),
      ),
      bidiStream(
        HeartbeatService.method.streamHeartbeats,
        { access: { device: () => "another" }, rate: "heartbeat" },
        async function* (requests) {
          for await (const _ of requests) yield {};
        },
      ),
      serverStream(
        RolloutService.method.watchRollout,
        { access: { role: "viewer" }, rate: "operator" },
        async function* () {
          yield {};
        },
      ),
    ],
  });
  const tokens = { device: "device", viewer: "viewer", operator: "operator", admin: "admin" };
  const outcomes = await walkAccess(doors.grpcAddress, doors.table, tokens);
  expect(outcomes.length).toBe([...doors.table].length * 5);
  expect(outcomes.filter(({ expected, actual }) => expected !== actual)).toEqual([]);
  expect(new Set(outcomes.map(({ actual }) => actual)).size).toBe(3);
});
