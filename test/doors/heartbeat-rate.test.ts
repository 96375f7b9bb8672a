import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { ClientError } from "../../src/client/client-error.ts";
import { enrolDevice, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = HeartbeatService;

/** As few as a test can exceed at once, and a full one takes half a minute to come back. */
const settings = { DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "2/minute" };

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ settings });
});
afterAll(() => service[Symbol.asyncDispose]());

const beat = (sequence: number) => ({ sequence: BigInt(sequence), firmwareVersion: "1.0.0", bootId: "b" });

describe("a device over DEVICE_OTA_RATE_LIMIT_HEARTBEAT", () => {
  it("on a stream is asked to slow down, and cut off with a time to wait if it floods on", async () => {
    const device = await enrolDevice(service);
    const stream = service.client(device.token).bidi(method.streamHeartbeats);
    await stream.send({ message: { case: "hello", value: { deviceId: device.id } } });
    const kinds: string[] = [];
    const read = (async () => {
      for await (const { message } of stream) {
        kinds.push(message.case === "directive" ? (message.value.action.case ?? "") : (message.case ?? ""));
      }
    })();
    const ended = read.then(
      () => undefined,
      (error: unknown) => error as ClientError,
    );
    for (let sequence = 1; sequence <= 400; sequence++) {
      await stream
        .send({ message: { case: "batch", value: { heartbeats: [beat(sequence)] } } })
        .catch(() => undefined);
    }
    const error = await ended;
    expect(error).toMatchObject({ reason: "RATE_LIMITED" });
    expect(error?.retryAfterMs).toBeGreaterThan(0);
    expect(kinds.filter((kind) => kind === "slowDown")).toHaveLength(1);
  });

  it("by calls is refused with a time to wait; a backlog of 1,000 counts once", async () => {
    const device = await enrolDevice(service);
    const client = service.client(device.token);
    const backlog = Array.from({ length: 1_000 }, (_, index) => beat(index + 1));
    const { ack } = await client.unary(method.sendHeartbeat, { heartbeats: backlog });
    expect(ack?.ackedThrough).toBe(1_000n);
    await client.unary(method.sendHeartbeat, { heartbeats: [beat(1_001)] });
    const third = client.unary(method.sendHeartbeat, { heartbeats: [beat(1_002)] });
    expect(await refusal(third)).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED" });
    const error = await third.catch((thrown: unknown) => thrown as ClientError);
    expect((error as ClientError).retryAfterMs).toBeGreaterThan(0);
  });
});
