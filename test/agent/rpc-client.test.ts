import { randomBytes } from "node:crypto";
import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { eventually } from "../support/eventually.ts";
import { offerOf } from "./agent-harness.ts";
import { FixtureService, statusOf } from "./fixture-service.ts";

test("a reader that leaves a server stream early ends the call and nothing is thrown", async () => {
  await using service = await FixtureService.start();
  const { updateId } = offerOf(service, randomBytes(4 * 1024 * 1024));
  using client = await enrolled(service);
  let chunks = 0;
  for await (const { message } of client.serverStream(UpdateService.method.downloadFirmware, { updateId })) {
    if (message.case === "chunk" && ++chunks === 2) break;
  }
  // The connection is still good.
  await expect(client.unary(UpdateService.method.checkForUpdate, {})).resolves.toBeDefined();
  expect(service.downloadedBytes).toBeLessThan(4 * 1024 * 1024);
});

test("errors carry the service's reason, and an aborted call ends with CANCELLED", async () => {
  await using service = await FixtureService.start();
  using client = await enrolled(service);
  service.failures.push({
    method: "checkForUpdate",
    error: statusOf(status.RESOURCE_EXHAUSTED, "RATE_LIMITED", { limit: "5" }),
  });
  await expect(client.unary(UpdateService.method.checkForUpdate, {})).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    reason: "RATE_LIMITED",
    metadata: { limit: "5" },
    transient: true,
  });
  const signal = AbortSignal.abort();
  await expect(client.unary(UpdateService.method.checkForUpdate, {}, { signal })).rejects.toMatchObject({
    code: status.CANCELLED,
  });
});

test("writing to a stream that the service has ended does not wait for ever", async () => {
  await using service = await FixtureService.start();
  using client = await enrolled(service);
  const call = client.bidi(HeartbeatService.method.streamHeartbeats);
  await call.send({ message: { case: "hello", value: { deviceId: service.device.id, epoch: 1 } } });
  await eventually(() => expect(service.device.hellos).toHaveLength(1));
  service.endStream(service.device, statusOf(status.ABORTED, "STREAM_SUPERSEDED"));
  const reading = async () => {
    for await (const { message } of call) expect(message.case).toBe("welcome");
  };
  await expect(reading()).rejects.toMatchObject({ reason: "STREAM_SUPERSEDED" });
  for (let index = 0; index < 50; index++) {
    await call.send({ message: { case: "goodbye", value: { reason: "late" } } });
  }
  call.finish();
});

test("a call whose token never comes ends when it is cancelled, and at its deadline", async () => {
  await using service = await FixtureService.start();
  const late = Promise.withResolvers<string>();
  const token = { token: () => late.promise, refused: () => undefined };
  using client = new RpcClient({ address: service.address, token });
  const { checkForUpdate, downloadFirmware } = UpdateService.method;
  const leave = new AbortController();
  const { signal } = leave;
  const cancelled = [
    client.unary(checkForUpdate, {}, { signal }),
    client.serverStream(downloadFirmware, { updateId: "" }, { signal }).next(),
  ];
  const timedOut = client.unary(checkForUpdate, {}, { timeoutMs: 20 });
  leave.abort();
  for (const call of cancelled) await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
  await expect(timedOut).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
  using other = new RpcClient({ address: service.address });
  const { deviceToken } = await other.unary(DeviceService.method.enrolDevice, {});
  late.resolve(deviceToken);
  await expect(client.unary(checkForUpdate, {})).resolves.toBeDefined();
  // What came too late began nothing.
  expect(service.checks).toHaveLength(1);
});

async function enrolled(service: FixtureService): Promise<RpcClient> {
  using client = new RpcClient({ address: service.address });
  const { deviceToken } = await client.unary(DeviceService.method.enrolDevice, {});
  return new RpcClient({ address: service.address, token: deviceToken });
}
