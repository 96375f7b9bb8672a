import { connect, constants } from "node:http2";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import type { Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatService, StreamHeartbeatsRequestSchema } from "../../gen/ota/v1/heartbeat_service_pb.js";
import {
  connectClient,
  type EnrolledDevice,
  enrolDevice,
  http,
  httpRefusal,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = HeartbeatService;

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

type HeartbeatInit = Exclude<MessageInitShape<typeof HeartbeatSchema>, Heartbeat>;

function beats(...sequences: number[]): HeartbeatInit[] {
  return sequences.map((sequence) => ({
    sequence: BigInt(sequence),
    firmwareVersion: "1.0.0",
    bootId: "boot-1",
  }));
}

/** The sequences in a device's history, as an operator sees it, in rising order. */
async function stored(deviceId: string): Promise<number[]> {
  const { heartbeats } = await service.client().unary(method.listHeartbeats, { deviceId, pageSize: 1_000 });
  return heartbeats.map(({ heartbeat }) => Number(heartbeat?.sequence)).toSorted((a, b) => a - b);
}

/** Opens a stream and says hello; `welcome` has come when this returns. */
async function openStream(device: EnrolledDevice) {
  const stream = service.client(device.token).bidi(method.streamHeartbeats);
  const answers = stream[Symbol.asyncIterator]();
  await stream.send({ message: { case: "hello", value: { deviceId: device.id, firmwareVersion: "1.0.0" } } });
  const { value } = await answers.next();
  if (value?.message.case !== "welcome") throw new Error(`expected a welcome, got ${value?.message.case}`);
  return {
    welcome: value.message.value,
    answers,
    send: (heartbeats: HeartbeatInit[]) => stream.send({ message: { case: "batch", value: { heartbeats } } }),
    /** Reads until everything up to a sequence is acknowledged; returns what was refused on the way. */
    acked: async (through: number) => {
      const rejected: { sequence: bigint; field: string }[] = [];
      for (;;) {
        const { value: answer, done } = await answers.next();
        if (done === true) throw new Error("the stream ended before the ack");
        if (answer.message.case !== "ack") continue;
        rejected.push(...answer.message.value.rejected);
        if (Number(answer.message.value.ackedThrough) >= through) return rejected;
      }
    },
    cancel: () => stream.cancel(),
  };
}

/** Readings that no sensor gives, and the field that is to be named. */
const impossible: readonly [string, string, HeartbeatInit][] = [
  ["NaN as charge", "battery_percent", { batteryPercent: Number.NaN }],
  ["NaN as position", "location.longitude", { location: { latitude: 1, longitude: Number.NaN } }],
  ["infinite temperature", "temperature_celsius", { temperatureCelsius: Number.POSITIVE_INFINITY }],
  ["latitude 200", "location.latitude", { location: { latitude: 200, longitude: 1 } }],
  ["a metric that is NaN", 'metrics["load"]', { metrics: { load: Number.NaN } }],
  ["a boot id of 65 characters", "boot_id", { bootId: "x".repeat(65) }],
  ["17 errors", "errors", { errors: Array.from({ length: 17 }, () => ({ code: "E" })) }],
  ["10,000 metrics", "metrics", { metrics: manyMetrics(10_000) }],
  ["a time in 1970", "device_time", { deviceTime: timestampFromDate(new Date(0)) }],
  ["a time in 2100", "device_time", { deviceTime: timestampFromDate(new Date("2100-01-01T00:00:00Z")) }],
];

function manyMetrics(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
}

describe("a heartbeat with an impossible reading", () => {
  /** Good heartbeats around the bad ones: sequence 1, the bad ones from 2 on, and a last good one. */
  const batch = [
    ...beats(1),
    ...impossible.map(([, , reading], at) => ({ ...beats(at + 2)[0], ...reading })),
  ];
  const last = batch.length + 1;
  batch.push(...beats(last));
  const expected = impossible.map(([, field], at) => ({ sequence: BigInt(at + 2), field }));
  const seen = (rejected: readonly { sequence: bigint; field: string }[]) =>
    rejected
      .map(({ sequence, field }) => ({ sequence, field }))
      .toSorted((a, b) => Number(a.sequence - b.sequence));

  it("is refused in the ack of a stream, which goes on; the good ones are stored", async () => {
    const device = await enrolDevice(service);
    const stream = await openStream(device);
    await stream.send(batch);
    expect(seen(await stream.acked(last))).toEqual(expected);
    await stream.send(beats(last + 1));
    expect(await stream.acked(last + 1)).toEqual([]);
    stream.cancel();
    expect(await stored(device.id)).toEqual([1, last, last + 1]);
  });

  it("is refused in the answer to a call, by gRPC and Connect", async () => {
    for (const send of [
      (token: string) => service.client(token).unary(method.sendHeartbeat, { heartbeats: batch }),
      (token: string) => connectClient(service, HeartbeatService, token).sendHeartbeat({ heartbeats: batch }),
    ]) {
      const device = await enrolDevice(service);
      const { ack } = await send(device.token);
      expect(ack?.ackedThrough).toBe(BigInt(last));
      expect(seen(ack?.rejected ?? [])).toEqual(expected);
      expect(await stored(device.id)).toEqual([1, last]);
    }
  });

  it("is refused in the answer over REST", async () => {
    const device = await enrolDevice(service);
    const heartbeats = [
      { sequence: 1, firmwareVersion: "1.0.0" },
      { sequence: 2, batteryPercent: "NaN" },
      { sequence: 3, location: { latitude: 200, longitude: 1 } },
      { sequence: 4, metrics: manyMetrics(10_000) },
      { sequence: 5, deviceTime: "1970-01-01T00:00:00Z" },
      { sequence: 6, deviceTime: "2100-01-01T00:00:00Z" },
    ];
    const { token } = device;
    const answer = await http(service, "POST", "/api/v1/heartbeat", { token, body: { heartbeats } });
    expect(answer.status).toBe(200);
    expect(answer.body.ack.rejected).toMatchObject([
      { sequence: "2", field: "battery_percent" },
      { sequence: "3", field: "location.latitude" },
      { sequence: "4", field: "metrics" },
      { sequence: "5", field: "device_time" },
      { sequence: "6", field: "device_time" },
    ]);
    expect(await stored(device.id)).toEqual([1]);
  });
});

describe("a message of 5 MB", () => {
  const large: HeartbeatInit = {
    sequence: 1n,
    errors: [{ code: "E", message: "x".repeat(5_000_000) }],
  };

  it("is refused by gRPC, in a call and on a stream", async () => {
    const device = await enrolDevice(service);
    const call = service.client(device.token).unary(method.sendHeartbeat, { heartbeats: [large] });
    expect(await refusal(call)).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    const stream = await openStream(device);
    await stream.send([large]);
    expect(await refusal(stream.answers.next())).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await stored(device.id)).toEqual([]);
  });

  it("is refused by Connect and REST", async () => {
    const device = await enrolDevice(service);
    const { token } = device;
    const connected = connectClient(service, HeartbeatService, token).sendHeartbeat({ heartbeats: [large] });
    expect(await refusal(connected)).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    const body = { heartbeats: [{ errors: [{ code: "E", message: "x".repeat(5_000_000) }] }] };
    const rest = await http(service, "POST", "/api/v1/heartbeat", { token, body });
    expect(rest.status).toBe(413);
    expect(httpRefusal(rest)).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "MESSAGE_TOO_LARGE" });
    expect(await stored(device.id)).toEqual([]);
  });
});

describe("what breaks the contract's rules as a whole", () => {
  it("is refused with its field: no heartbeats in a call, or too many", async () => {
    const device = await enrolDevice(service);
    const send = (heartbeats: HeartbeatInit[]) =>
      refusal(service.client(device.token).unary(method.sendHeartbeat, { heartbeats }));
    const expected = { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST", fields: ["heartbeats"] };
    expect(await send([])).toEqual(expected);
    expect(await send(Array.from({ length: 1_001 }, () => ({})))).toEqual(expected);
  });

  it("ends a stream whose first message is no hello", async () => {
    const device = await enrolDevice(service);
    const stream = service.client(device.token).bidi(method.streamHeartbeats);
    await stream.send({ message: { case: "batch", value: { heartbeats: beats(1) } } });
    expect(await refusal(stream[Symbol.asyncIterator]().next())).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "HELLO_REQUIRED",
    });
  });
});

describe("sequences", () => {
  it("that come twice or out of order are stored once each", async () => {
    const device = await enrolDevice(service);
    const stream = await openStream(device);
    await stream.send(beats(3, 1, 2, 2, 1));
    await stream.acked(3);
    await stream.send(beats(2, 3, 4));
    await stream.acked(4);
    stream.cancel();
    expect(await stored(device.id)).toEqual([1, 2, 3, 4]);
  });

  it("that were stored are not stored again by a call or a new stream, which says how far they go", async () => {
    const device = await enrolDevice(service);
    const client = service.client(device.token);
    for (let attempt = 0; attempt < 2; attempt++) {
      const { ack } = await client.unary(method.sendHeartbeat, { heartbeats: beats(1, 2, 3) });
      expect(ack).toMatchObject({ ackedThrough: 3n, rejected: [] });
    }
    const stream = await openStream(device);
    expect(stream.welcome.durableSequence).toBe(3n);
    await stream.send(beats(2, 3, 4));
    await stream.acked(4);
    stream.cancel();
    expect(await stored(device.id)).toEqual([1, 2, 3, 4]);
  });

  it("of an epoch that the device has left are refused", async () => {
    const device = await enrolDevice(service);
    const client = service.client(device.token);
    await client.unary(method.sendHeartbeat, { epoch: 2, heartbeats: beats(1) });
    const stale = client.unary(method.sendHeartbeat, { epoch: 1, heartbeats: beats(2) });
    expect(await refusal(stale)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "STALE_EPOCH" });
  });
});

describe("two agents with one identity", () => {
  it("get one stream: the newer one lives, the older one is told why it ends", async () => {
    const device = await enrolDevice(service);
    const older = await openStream(device);
    await older.send(beats(1));
    await older.acked(1);
    const newer = await openStream(device);
    expect(newer.welcome.streamGeneration).toBeGreaterThan(older.welcome.streamGeneration);
    expect(await refusal(older.answers.next())).toMatchObject({
      code: "ABORTED",
      reason: "STREAM_SUPERSEDED",
    });
    await newer.send(beats(2));
    await newer.acked(2);
    newer.cancel();
    expect(await stored(device.id)).toEqual([1, 2]);
  });
});

describe("a stream that is cut in the middle of a message", () => {
  /** A gRPC message behind its prefix: one byte of flags, four of length. */
  function frame(message: MessageInitShape<typeof StreamHeartbeatsRequestSchema>): Buffer {
    const body = toBinary(StreamHeartbeatsRequestSchema, create(StreamHeartbeatsRequestSchema, message));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(body.length, 1);
    return Buffer.concat([prefix, body]);
  }

  function batchFrame(...sequences: number[]): Buffer {
    return frame({ message: { case: "batch", value: { heartbeats: beats(...sequences) } } });
  }

  async function streamingCount(): Promise<bigint> {
    return (await service.client().unary(DeviceService.method.getDeviceStatusOverview, {})).streamingCount;
  }

  /** Opens a stream by bare HTTP/2, has heartbeat 1 acknowledged and sends half of heartbeat 2. */
  async function halfWay(device: EnrolledDevice) {
    const session = connect(`http://${service.grpcAddress}`);
    session.on("error", () => undefined);
    const stream = session.request({
      ":method": "POST",
      ":path": "/ota.v1.HeartbeatService/StreamHeartbeats",
      "content-type": "application/grpc",
      te: "trailers",
      authorization: `Bearer ${device.token}`,
    });
    stream.on("error", () => undefined);
    stream.resume();
    const hello = { deviceId: device.id, firmwareVersion: "1.0.0" };
    stream.write(frame({ message: { case: "hello", value: hello } }));
    stream.write(batchFrame(1));
    await eventually(async () => expect(await stored(device.id)).toEqual([1]));
    const second = batchFrame(2);
    await new Promise<void>((resolve) => stream.write(second.subarray(0, -3), () => resolve()));
    expect(await streamingCount()).toBe(1n);
    return { session, stream };
  }

  it.each([
    ["by a broken connection", ({ session }: Awaited<ReturnType<typeof halfWay>>) => session.destroy()],
    [
      "by a reset",
      ({ stream }: Awaited<ReturnType<typeof halfWay>>) => stream.close(constants.NGHTTP2_CANCEL),
    ],
    ["by an end that comes too early", ({ stream }: Awaited<ReturnType<typeof halfWay>>) => stream.end()],
  ])("%s leaves what was acknowledged, nothing of the half, and no stream behind", async (_how, cut) => {
    const device = await enrolDevice(service);
    const halves = await halfWay(device);
    cut(halves);
    await eventually(async () => expect(await streamingCount()).toBe(0n));
    halves.session.destroy();
    expect(await stored(device.id)).toEqual([1]);

    const next = await openStream(device);
    expect(next.welcome.durableSequence).toBe(1n);
    await next.send(beats(2));
    await next.acked(2);
    next.cancel();
    await eventually(async () => expect(await streamingCount()).toBe(0n));
    expect(await stored(device.id)).toEqual([1, 2]);
  });
});
