import { create, fromBinary, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  HeartbeatService,
  SendHeartbeatRequestSchema,
  SendHeartbeatResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { type EnrolledDevice, enrolDevice, http } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** What cannot be read of heartbeats that come by HTTP, sent as bytes as they stand on the wire. */

const { method } = HeartbeatService;

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

async function post(
  path: string,
  { token }: EnrolledDevice,
  body: Uint8Array<ArrayBuffer>,
  contentType: string,
) {
  const headers = {
    "content-type": contentType,
    "connect-protocol-version": "1",
    authorization: `Bearer ${token}`,
  };
  return fetch(new URL(path, service.httpUrl), { method: "POST", headers, body });
}

const rpcPath = "/ota.v1.HeartbeatService/SendHeartbeat";

/** The doors that take JSON. */
const jsonDoors = [
  ["REST", "/api/v1/heartbeat"],
  ["Connect", rpcPath],
] as const;

/** The JSON of three heartbeats, the second with something more in it. */
function threeBeats(more: string): Buffer<ArrayBuffer> {
  const text = `{"heartbeats":[{"sequence":1},{"sequence":2,${more}},{"sequence":3}]}`;
  // One byte a character: "\xfc" is no UTF-8.
  return Buffer.from(text, "latin1");
}

async function sent(path: string, device: EnrolledDevice, body: Uint8Array<ArrayBuffer>) {
  const answer = await post(path, device, body, "application/json");
  expect(answer.status).toBe(200);
  return fromJson(SendHeartbeatResponseSchema, (await answer.json()) as JsonValue).ack;
}

async function refused(path: string, device: EnrolledDevice, body: Uint8Array<ArrayBuffer>) {
  const answer = await post(path, device, body, "application/json");
  expect(answer.status).toBe(400);
  return answer.text();
}

async function stored({ id: deviceId }: EnrolledDevice) {
  const { heartbeats } = await service.client().unary(method.listHeartbeats, { deviceId });
  return heartbeats
    .map(({ heartbeat }) => heartbeat)
    .toSorted((a, b) => Number(a?.sequence) - Number(b?.sequence));
}

async function storedSequences(device: EnrolledDevice): Promise<number[]> {
  return (await stored(device)).map((heartbeat) => Number(heartbeat?.sequence));
}

/** What a heartbeat has, which field is left out for it, and what of it is shown. */
const leftOut: readonly (readonly [json: string, field: string, value: string])[] = [
  [`"network":{"type":"NETWORK_TYPE_6G"}`, "network.type", "NETWORK_TYPE_6G"],
  [`"batteryPercent":1e39`, "battery_percent", "1e+39"],
  [`"batteryPercent":"NaN"`, "battery_percent", "NaN"],
  [`"batteryPercent":NaN`, "battery_percent", "NaN"],
  [`"batteryPercent":-inf`, "battery_percent", "-inf"],
  [`"batteryPercent":"101 %"`, "battery_percent", "101 %"],
  [`"batteryPercent":[5]`, "battery_percent", ""],
  [`"charging":"yes"`, "charging", "yes"],
  [`"deviceTime":"2026-01-01T00:00:00"`, "device_time", "2026-01-01T00:00:00"],
  [`"deviceTime":1767225600`, "device_time", "1767225600"],
  [`"uptime":12`, "uptime", "12"],
  [`"storageFreeBytes":-1`, "storage_free_bytes", "-1"],
  [`"network":{"carrier":"Telef\xf3nica"}`, "network.carrier", "Telef\ufffdnica"],
  [`"network":7`, "network", "7"],
  [`"location":{"latitude":"52 N","longitude":13}`, "location.latitude", "52 N"],
  [`"imageSha256":"!"`, "image_sha256", "!"],
  [`"metrics":{"a":"high","b":2}`, 'metrics["a"]', "high"],
  [`"metrics":[1]`, "metrics", ""],
  [`"components":{"maps":7}`, 'components["maps"]', "7"],
  [`"errors":[{"code":7}]`, "errors[0].code", "7"],
  [`"errors":["E",{"code":"F"}]`, "errors[0]", "E"],
];

describe.each(jsonDoors)("by %s, a heartbeat", (door, path) => {
  it.each(leftOut)("with %s is stored without it", async (json, field, value) => {
    const device = await enrolDevice(service);
    const ack = await sent(path, device, threeBeats(json));
    expect(ack).toMatchObject({ ackedThrough: 3n, leftOutCount: 1, rejected: [] });
    expect(ack?.leftOut).toMatchObject([
      { sequence: 2n, field, description: expect.stringMatching(/^must/), value },
    ]);
    expect(await storedSequences(device)).toEqual([1, 2, 3]);
  });

  it("keeps what else it has", async () => {
    const device = await enrolDevice(service);
    const more = `"batteryPercent":"full","temperatureCelsius":20,"location":{"latitude":5,"longitude":"x"},
      "metrics":{"a":null,"b":2},"errors":[{"code":"E","severity":"SEVERITY_BAD","message":"M\xfcnchen \\"x\\""},{"code":"F"}]`;
    const ack = await sent(path, device, threeBeats(more));
    expect(ack?.leftOut.map((each) => each.field)).toEqual([
      "battery_percent",
      "location.longitude",
      'metrics["a"]',
      "errors[0].severity",
      "errors[0].message",
    ]);
    const [, second] = await stored(device);
    expect(second).toMatchObject({ temperatureCelsius: 20, metrics: { b: 2 } });
    expect(second?.location).toBeUndefined();
    expect(second?.batteryPercent).toBeUndefined();
    expect(second?.errors).toMatchObject([{ code: "E", message: 'M\ufffdnchen "x"' }, { code: "F" }]);
  });

  it.each([
    [`"firmwareVersion":7`, "firmware_version"],
    [`"bootId":"b\xfc"`, "boot_id"],
  ])("with %s is refused by itself, with its sequence", async (json, field) => {
    const device = await enrolDevice(service);
    const ack = await sent(path, device, threeBeats(json));
    expect(ack).toMatchObject({ ackedThrough: 3n, rejected: [{ sequence: 2n, field }], leftOut: [] });
    expect(await storedSequences(device)).toEqual([1, 3]);
  });

  it("that is none is refused by itself", async () => {
    const device = await enrolDevice(service);
    const beats = `{"heartbeats":[{"sequence":1},7,{"sequence":"two"},{"sequence":3}]}`;
    expect(await sent(path, device, Buffer.from(beats))).toMatchObject({
      ackedThrough: 3n,
      rejected: [{ field: "" }, { field: "sequence" }],
    });
    expect(await storedSequences(device)).toEqual([1, 3]);
  });

  it("of thousands of values that cannot be read keeps that by which it is known", async () => {
    const device = await enrolDevice(service);
    const metrics = Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`m${at}`, {}]));
    const more = `"firmwareVersion":"1.0.0","batteryPercent":7,"metrics":${JSON.stringify(metrics)}`;
    const ack = await sent(path, device, threeBeats(more));
    expect(ack).toMatchObject({
      ackedThrough: 3n,
      rejected: [],
      leftOut: [{ sequence: 2n, field: "heartbeat" }],
    });
    expect((await stored(device))[1]).toMatchObject({ sequence: 2n, firmwareVersion: "1.0.0", metrics: {} });
  });

  it("does not excuse what is wrong with the request around it", async () => {
    const device = await enrolDevice(service);
    const wrong = Buffer.from(`{"epoch":"x","heartbeats":[{"sequence":1,"batteryPercent":"full"}]}`);
    expect(await refused(path, device, wrong)).toContain("epoch");
    const many = Buffer.from(
      `{"heartbeats":[${Array.from({ length: 1_001 }, () => `{"uptime":1}`).join()}]}`,
    );
    expect(await refused(path, device, many)).toContain("heartbeats");
    await refused(path, device, Buffer.from(`{"heartbeats":[{"sequence":1}`));
    expect(await storedSequences(device)).toEqual([]);
  });

  it("of a name that the contract does not have is stored", async () => {
    const device = await enrolDevice(service);
    const ack = await sent(path, device, threeBeats(`"tempreature":5,"batteryPercent":7`));
    // Connect passes over what a newer contract may have, as the binary encoding does.
    const named = door === "REST" ? [{ field: 'heartbeat["tempreature"]', value: "5" }] : [];
    expect(ack?.leftOut).toMatchObject(named);
    expect((await stored(device))[1]).toMatchObject({ batteryPercent: 7 });
  });
});

describe("bytes that are no heartbeat", () => {
  function broken(): Buffer<ArrayBuffer> {
    const heartbeats = [1n, 2n, 3n].map((sequence) => ({ sequence, bootId: `b@${sequence}` }));
    const bytes = Buffer.from(
      toBinary(SendHeartbeatRequestSchema, create(SendHeartbeatRequestSchema, { heartbeats })),
    );
    bytes[bytes.indexOf("@2")] = 0xfc;
    return bytes;
  }

  const ack = { ackedThrough: 3n, rejected: [{ sequence: 2n, field: "boot_id" }] };

  it("are refused by themselves by Connect", async () => {
    const device = await enrolDevice(service);
    const answer = await post(rpcPath, device, broken(), "application/proto");
    expect(answer.status).toBe(200);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    expect(fromBinary(SendHeartbeatResponseSchema, bytes).ack).toMatchObject(ack);
    expect(await storedSequences(device)).toEqual([1, 3]);
  });

  it("are refused by themselves by gRPC-Web", async () => {
    const device = await enrolDevice(service);
    const message = broken();
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    const answer = await post(rpcPath, device, Buffer.concat([frame, message]), "application/grpc-web+proto");
    const bytes = Buffer.from(await answer.arrayBuffer());
    const length = bytes.readUInt32BE(1);
    expect(fromBinary(SendHeartbeatResponseSchema, bytes.subarray(5, 5 + length)).ack).toMatchObject(ack);
    expect(await storedSequences(device)).toEqual([1, 3]);
  });

  it("are refused as a whole where they are no request", async () => {
    const device = await enrolDevice(service);
    const answer = await post(rpcPath, device, Buffer.from([0xff, 0xff]), "application/proto");
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: "invalid_argument" });
  });
});

it("a stranger's body is not read", async () => {
  const answer = await http(service, "POST", rpcPath, { token: "nobody", body: { heartbeats: [7] } });
  expect(answer.status).toBe(401);
});
