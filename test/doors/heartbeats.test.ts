import { connect, constants } from "node:http2";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClockVerdict, HeartbeatFaultKind } from "../../gen/ota/v1/device_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import type { Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  type Ack,
  HeartbeatService,
  SendHeartbeatRequestSchema,
  type SendHeartbeatResponse,
  SendHeartbeatResponseSchema,
  StreamHeartbeatsRequestSchema,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
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
    /** Reads until everything up to a sequence is acknowledged; returns what was refused and left out on the way. */
    acked: async (through: number) => {
      const rejected: Named[] = [];
      const leftOut: Named[] = [];
      for (;;) {
        const { value: answer, done } = await answers.next();
        if (done === true) throw new Error("the stream ended before the ack");
        if (answer.message.case !== "ack") continue;
        rejected.push(...answer.message.value.rejected);
        leftOut.push(...answer.message.value.leftOut);
        if (Number(answer.message.value.ackedThrough) >= through) return { rejected, leftOut };
      }
    },
    cancel: () => stream.cancel(),
  };
}

/** Values that nothing can mean, the field that is to be named, and what of the heartbeat is kept beside. */
const impossible: readonly [string, string, HeartbeatInit][] = [
  ["NaN as charge", "battery_percent", { batteryPercent: Number.NaN }],
  ["a charge of 101", "battery_percent", { batteryPercent: 101 }],
  ["NaN as position", "location.longitude", { location: { latitude: 1, longitude: Number.NaN } }],
  ["infinite temperature", "temperature_celsius", { temperatureCelsius: Number.POSITIVE_INFINITY }],
  ["the -127 degrees of a sensor that is off", "temperature_celsius", { temperatureCelsius: -127 }],
  ["latitude 200", "location.latitude", { location: { latitude: 200, longitude: 1 } }],
  ["no signal as the largest number", "network.signal_dbm", { network: { signalDbm: 2_147_483_647 } }],
  ["a network of a later contract", "network.type", { network: { type: 99 as never } }],
  [
    "a severity of a later contract",
    "errors[0].severity",
    { errors: [{ code: "E", severity: 99 as never }] },
  ],
  ["a metric that is NaN", 'metrics["load"]', { metrics: { load: Number.NaN } }],
  ["17 errors", "errors", { errors: Array.from({ length: 17 }, () => ({ code: "E" })) }],
  ["10,000 metrics", "metrics", { metrics: manyMetrics(10_000) }],
  ["a time in 1970", "device_time", { deviceTime: timestampFromDate(new Date(0)) }],
  ["a time in 2100", "device_time", { deviceTime: timestampFromDate(new Date("2100-01-01T00:00:00Z")) }],
];

/** What a heartbeat cannot be known by. */
const unknowable: readonly [string, HeartbeatInit][] = [
  ["boot_id", { bootId: "x".repeat(65) }],
  ["firmware_version", { firmwareVersion: "1\0" }],
];

function manyMetrics(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
}

type Named = { sequence: bigint; field: string };

function named(list: readonly Named[]): Named[] {
  return list
    .map(({ sequence, field }) => ({ sequence, field }))
    .toSorted((a, b) => Number(a.sequence - b.sequence));
}

describe("a heartbeat with a value that nothing can mean", () => {
  /** Good heartbeats around the others: sequence 1, those from 2 on, and a last good one. */
  const batch = [
    ...beats(1),
    ...[...impossible.map(([, , reading]) => reading), ...unknowable.map(([, reading]) => reading)].map(
      (reading, at) => ({ ...beats(at + 2)[0], ...reading }),
    ),
  ];
  const last = batch.length + 1;
  batch.push(...beats(last));
  const leftOut = impossible.map(([, field], at) => ({ sequence: BigInt(at + 2), field }));
  const rejected = unknowable.map(([field], at) => ({ sequence: BigInt(impossible.length + at + 2), field }));
  const kept = [...Array.from({ length: impossible.length + 1 }, (_, at) => at + 1), last];

  it("loses that and is stored; what cannot be known is refused; a stream says both and goes on", async () => {
    const device = await enrolDevice(service);
    const stream = await openStream(device);
    await stream.send(batch);
    const ack = await stream.acked(last);
    expect(named(ack.rejected)).toEqual(rejected);
    expect(named(ack.leftOut)).toEqual(leftOut);
    await stream.send(beats(last + 1));
    expect(await stream.acked(last + 1)).toEqual({ rejected: [], leftOut: [] });
    stream.cancel();
    expect(await stored(device.id)).toEqual([...kept, last + 1]);
  });

  it("is answered alike to a call, by gRPC and Connect", async () => {
    for (const send of [
      (token: string) => service.client(token).unary(method.sendHeartbeat, { heartbeats: batch }),
      (token: string) => connectClient(service, HeartbeatService, token).sendHeartbeat({ heartbeats: batch }),
    ]) {
      const device = await enrolDevice(service);
      const { ack } = await send(device.token);
      expect(ack?.ackedThrough).toBe(BigInt(last));
      expect(named(ack?.rejected ?? [])).toEqual(rejected);
      expect(named(ack?.leftOut ?? [])).toEqual(leftOut);
      expect(ack?.leftOutCount).toBe(impossible.length);
      expect(await stored(device.id)).toEqual(kept);
    }
  });

  it("is answered alike over REST", async () => {
    const device = await enrolDevice(service);
    const heartbeats = [
      { sequence: 1, firmwareVersion: "1.0.0" },
      { sequence: 2, batteryPercent: "NaN" },
      { sequence: 3, location: { latitude: 200, longitude: 1 } },
      { sequence: 4, metrics: manyMetrics(10_000) },
      { sequence: 5, deviceTime: "1970-01-01T00:00:00Z" },
      { sequence: 6, deviceTime: "2100-01-01T00:00:00Z" },
      { sequence: 7, bootId: "x".repeat(65) },
    ];
    const { token } = device;
    const answer = await http(service, "POST", "/api/v1/heartbeat", { token, body: { heartbeats } });
    expect(answer.status).toBe(200);
    expect(answer.body.ack.rejected).toMatchObject([{ sequence: "7", field: "boot_id" }]);
    expect(answer.body.ack.leftOut).toMatchObject([
      { sequence: "2", field: "battery_percent", value: "NaN" },
      { sequence: "3", field: "location.latitude", value: "200" },
      { sequence: "4", field: "metrics" },
      { sequence: "5", field: "device_time", value: "1970-01-01T00:00:00.000Z" },
      { sequence: "6", field: "device_time" },
    ]);
    expect(await stored(device.id)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("shows the device, its version and its crash, and is counted", async () => {
    const device = await enrolDevice(service);
    const errors = [{ code: "SENSOR_CRASH", fatal: true, message: "gone", crashLogId: "none" }];
    const heartbeat = { ...beats(1)[0], firmwareVersion: "1.1.0", batteryPercent: 101, errors };
    await service.client(device.token).unary(method.sendHeartbeat, { heartbeats: [heartbeat] });
    await eventually(async () => {
      const { device: shown } = await service
        .client()
        .unary(DeviceService.method.getDevice, { id: device.id });
      expect(shown?.firmwareVersion).toBe("1.1.0");
      expect(shown?.lastHeartbeat?.batteryPercent).toBeUndefined();
      expect(shown?.heartbeatFaults).toMatchObject(
        ["battery_percent", "errors.crash_log_id"].map((field) => ({ field, count: 1n, sequence: 1n })),
      );
      expect(shown?.heartbeatFaults[0]).toMatchObject({
        kind: HeartbeatFaultKind.LEFT_OUT,
        value: "101",
        description: "must be from 0 to 100",
      });
    });
    const { heartbeats } = await service.client().unary(method.listHeartbeats, { deviceId: device.id });
    expect(heartbeats[0]?.heartbeat?.errors).toMatchObject([{ code: "SENSOR_CRASH", fatal: true }]);
    const metrics = await http(service, "GET", "/metrics");
    expect(metrics.body).toMatch(/readings_left_out_total\{field="battery_percent"\} [1-9]/);
    expect(metrics.body).toMatch(/readings_left_out_total\{field="errors.crash_log_id"\} [1-9]/);
    expect(metrics.body).toMatch(/ingest_rows_rejected_total [1-9]/);
  });
});

describe("a device that is not heard as it means to be", () => {
  async function shown(id: string) {
    const { device } = await service.client().unary(DeviceService.method.getDevice, { id });
    return device;
  }

  /** The devices that a filter finds, with how many kinds of faults each is shown with. */
  async function listed(filter: string) {
    const { devices } = await service
      .client()
      .unary(DeviceService.method.listDevices, { filter, pageSize: 1_000 });
    return devices.map(({ id, heartbeatFaults }) => [id, heartbeatFaults.length]);
  }

  it("shows how many heartbeats were refused and came again", async () => {
    const device = await enrolDevice(service);
    const client = service.client(device.token);
    const heartbeats = [...beats(1, 2), { ...beats(3)[0], bootId: "\0" }];
    for (let attempt = 0; attempt < 2; attempt++) await client.unary(method.sendHeartbeat, { heartbeats });
    await eventually(async () => {
      const faults = (await shown(device.id))?.heartbeatFaults ?? [];
      const byKind = faults.toSorted((one, other) => one.kind - other.kind);
      expect(byKind.map(({ kind, field, count }) => [kind, field, count])).toEqual([
        [HeartbeatFaultKind.REFUSED, "boot_id", 2n],
        [HeartbeatFaultKind.REPEATED, "", 2n],
      ]);
    });
    const recently = "heartbeat_refused_time > ago(1h) AND heartbeat_repeated_time:*";
    expect(await listed(recently)).toContainEqual([device.id, 2]);
    expect(await listed(`NOT (${recently})`)).not.toContainEqual([device.id, expect.any(Number)]);
  });

  it("shows what its clock is worth", async () => {
    const device = await enrolDevice(service);
    const beat = async (sequence: number, deviceTime: Date | undefined) => {
      const time = deviceTime === undefined ? {} : { deviceTime: timestampFromDate(deviceTime) };
      const heartbeats = [{ ...beats(sequence)[0], ...time }];
      await service.client(device.token).unary(method.sendHeartbeat, { heartbeats });
    };
    const verdict = async (expected: ClockVerdict, offsetSeconds?: number) => {
      await eventually(async () => {
        const answer = await shown(device.id);
        expect(answer?.clockVerdict).toBe(expected);
        if (offsetSeconds === undefined) return;
        expect(Math.abs(Number(answer?.clockOffset?.seconds) - offsetSeconds)).toBeLessThan(60);
      });
    };
    await beat(1, undefined);
    await verdict(ClockVerdict.UNSPECIFIED);
    await beat(2, new Date());
    await verdict(ClockVerdict.RIGHT, 0);
    await beat(3, new Date(Date.now() - 7_200_000));
    await verdict(ClockVerdict.OFF, -7_200);
    expect(await listed("clock_verdict = OFF")).toEqual([[device.id, 0]]);
    await beat(4, new Date(20_000));
    await verdict(ClockVerdict.UNSET);
    await beat(5, new Date("4020-01-01T00:00:00Z"));
    await verdict(ClockVerdict.OFF);
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

describe("bytes that are no heartbeat", () => {
  /** A batch of three heartbeats, of which the second has one byte of Latin-1 in the message of its error. */
  function broken(schema: typeof StreamHeartbeatsRequestSchema | typeof SendHeartbeatRequestSchema): Buffer {
    const heartbeats = [
      ...beats(1),
      { ...beats(2)[0], errors: [{ code: "E", message: "M@nchen" }] },
      ...beats(3),
    ];
    const bytes = Buffer.from(
      schema === StreamHeartbeatsRequestSchema
        ? toBinary(schema, create(schema, { message: { case: "batch", value: { heartbeats } } }))
        : toBinary(schema, create(schema as typeof SendHeartbeatRequestSchema, { heartbeats })),
    );
    bytes[bytes.indexOf("@nchen")] = 0xfc;
    return bytes;
  }

  /** A call by bare HTTP/2 with messages of any bytes. */
  function bareCall(name: string, token: string, decode: (bytes: Buffer) => void) {
    const session = connect(`http://${service.grpcAddress}`);
    const stream = session.request({
      ":method": "POST",
      ":path": `/ota.v1.HeartbeatService/${name}`,
      "content-type": "application/grpc",
      te: "trailers",
      authorization: `Bearer ${token}`,
    });
    let received = Buffer.alloc(0);
    stream.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (let end = 5; received.length >= 5; received = received.subarray(end)) {
        end = 5 + received.readUInt32BE(1);
        if (received.length < end) return;
        decode(received.subarray(5, end));
      }
    });
    return {
      send: (bytes: Uint8Array) => stream.write(framed(bytes)),
      end: () => stream.end(),
      close: () => session.destroy(),
    };
  }

  const refused = { sequence: 2n, field: "errors", description: expect.stringContaining("UTF-8") };

  it("are refused with their sequence on a stream, which goes on", async () => {
    const device = await enrolDevice(service);
    const acks: Ack[] = [];
    const call = bareCall("StreamHeartbeats", device.token, (bytes) => {
      const { message } = fromBinary(StreamHeartbeatsResponseSchema, bytes);
      if (message.case === "ack") acks.push(message.value);
    });
    const say = (message: NonNullable<MessageInitShape<typeof StreamHeartbeatsRequestSchema>["message"]>) =>
      call.send(toBinary(StreamHeartbeatsRequestSchema, create(StreamHeartbeatsRequestSchema, { message })));
    say({ case: "hello", value: { deviceId: device.id, firmwareVersion: "1.0.0" } });
    call.send(broken(StreamHeartbeatsRequestSchema));
    say({ case: "batch", value: { heartbeats: beats(4) } });
    await eventually(() => expect(acks.at(-1)?.ackedThrough).toBe(4n));
    call.close();
    expect(acks.flatMap(({ rejected }) => rejected)).toMatchObject([refused]);
    expect(await stored(device.id)).toEqual([1, 3, 4]);
  });

  it("are refused with their sequence in a call", async () => {
    const device = await enrolDevice(service);
    const answers: SendHeartbeatResponse[] = [];
    const call = bareCall("SendHeartbeat", device.token, (bytes) => {
      answers.push(fromBinary(SendHeartbeatResponseSchema, bytes));
    });
    call.send(broken(SendHeartbeatRequestSchema));
    call.end();
    await eventually(() => expect(answers[0]?.ack).toMatchObject({ ackedThrough: 3n, rejected: [refused] }));
    call.close();
    expect(await stored(device.id)).toEqual([1, 3]);
  });
});

describe("a heartbeat of all that its fields may hold", () => {
  it("fits into a message, in whatever alphabet", async () => {
    const device = await enrolDevice(service);
    const errors = Array.from({ length: 16 }, (_, at) => ({
      code: `E${at}`,
      message: "誤".repeat(2_000),
      stack: "𠮷".repeat(16_000),
      context: Object.fromEntries(Array.from({ length: 16 }, (__, n) => [`k${n}`, "值".repeat(256)])),
    }));
    const stream = await openStream(device);
    await stream.send([{ ...beats(1)[0], errors }]);
    expect(await stream.acked(1)).toEqual({ rejected: [], leftOut: [] });
    stream.cancel();
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

describe("a counter", () => {
  it("that begins again under a new boot is heard, by a call and on a stream that name no epoch", async () => {
    const device = await enrolDevice(service);
    const { token } = device;
    const post = async (...sequences: number[]) => {
      const heartbeats = sequences.map((sequence) => ({
        sequence,
        firmwareVersion: "1.0.0",
        bootId: "first",
      }));
      return (await http(service, "POST", "/api/v1/heartbeat", { token, body: { heartbeats } })).body.ack;
    };
    expect(await post(1, 2, 3, 4)).toMatchObject({ ackedThrough: "4", epoch: 1 });
    const again = [{ sequence: 1n, firmwareVersion: "1.1.0", bootId: "second" }];
    const called = await service.client(token).unary(method.sendHeartbeat, { heartbeats: again });
    expect(called.ack).toMatchObject({ ackedThrough: 1n, epoch: 2 });
    const stream = await openStream(device);
    expect(stream.welcome).toMatchObject({ epoch: 2, durableSequence: 1n });
    await stream.send([{ sequence: 1n, bootId: "third" }]);
    await stream.acked(1);
    await stream.send([{ sequence: 2n, bootId: "third" }]);
    await stream.acked(2);
    stream.cancel();
    expect(await stored(device.id)).toEqual([1, 1, 1, 2, 2, 3, 4]);
  });

  it("is the service's for heartbeats without a number, on all doors", async () => {
    const device = await enrolDevice(service);
    const body = { heartbeats: [{ firmwareVersion: "1.0.0" }] };
    await http(service, "POST", "/api/v1/heartbeat", { token: device.token, body });
    const connected = connectClient(service, HeartbeatService, device.token);
    await connected.sendHeartbeat({ heartbeats: beats(0) });
    const stream = await openStream(device);
    await stream.send(beats(0, 0));
    await stream.acked(4);
    stream.cancel();
    expect(await stored(device.id)).toEqual([1, 2, 3, 4]);
  });

  it("beyond 2^53 is refused on all doors, and no acknowledgement goes back for it", async () => {
    const device = await enrolDevice(service);
    const client = service.client(device.token);
    await client.unary(method.sendHeartbeat, { heartbeats: beats(1) });
    const beyond = { ...beats(0)[0], sequence: 2n ** 53n };
    const refused = { ackedThrough: 1n, rejected: [{ sequence: 2n ** 53n, field: "sequence" }] };
    const called = await client.unary(method.sendHeartbeat, { heartbeats: [beyond] });
    expect(called.ack).toMatchObject(refused);
    const connected = connectClient(service, HeartbeatService, device.token);
    expect((await connected.sendHeartbeat({ heartbeats: [beyond] })).ack).toMatchObject(refused);
    const body = { heartbeats: [{ sequence: String(2n ** 53n) }] };
    const rest = await http(service, "POST", "/api/v1/heartbeat", { token: device.token, body });
    expect(rest.body.ack).toMatchObject({ ackedThrough: "1", rejected: [{ field: "sequence" }] });
    const stream = await openStream(device);
    await stream.send([beyond]);
    expect((await stream.acked(1)).rejected).toMatchObject([{ field: "sequence" }]);
    stream.cancel();
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
  function frame(message: MessageInitShape<typeof StreamHeartbeatsRequestSchema>): Buffer {
    return framed(toBinary(StreamHeartbeatsRequestSchema, create(StreamHeartbeatsRequestSchema, message)));
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

/** A gRPC message behind its prefix: one byte of flags, four of length. */
function framed(body: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}
