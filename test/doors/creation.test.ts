import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import {
  type CreateDeviceResult,
  type CreateDevicesRequestSchema,
  DeviceService,
} from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { connectClient, enrolDevice, http, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { whoAmI } from "../support/who-am-i.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service[Symbol.asyncDispose]());

type Wish = MessageInitShape<typeof CreateDevicesRequestSchema>;

const board = { deviceType: "thermostat", hardwareModel: "tx-200" };
const newDevice = () => ({ ...board, serialNumber: `sn-${randomUUID()}` });

async function create(wish: Wish): Promise<readonly CreateDeviceResult[]> {
  const request = { requestId: randomUUID(), ...wish };
  return (await service.client().unary(DeviceService.method.createDevices, request)).results;
}

/** Whose a token is, or why it works no more. */
async function holderOf(token: string): Promise<string | undefined> {
  const answer = await whoAmI.grpc(service, token);
  return answer.refusal?.reason ?? answer.deviceId;
}

/** What became of each, in a word. */
const words = (results: readonly CreateDeviceResult[]) =>
  results.map(({ failure, existing }) => failure?.reason ?? (existing ? "existing" : "created"));

describe("many devices that an operator registers", () => {
  it("have what was said of them, and a token each that works", async () => {
    const said = {
      ...newDevice(),
      displayName: "Hall",
      groups: ["berlin", "lab"],
      metadata: { site: "7" },
      product: "tx-os",
    };
    const [first, second] = await create({ devices: [said, newDevice()] });
    const { device } = await service
      .client()
      .unary(DeviceService.method.getDevice, { id: first?.deviceId ?? "" });
    expect(device).toMatchObject(said);
    for (const { deviceId, deviceToken } of [first, second] as CreateDeviceResult[])
      expect(await holderOf(deviceToken)).toBe(deviceId);
    const { events } = await service
      .client()
      .unary(AccessService.method.listAuditEvents, { resourceId: first?.deviceId ?? "" });
    expect(events.map(({ action }) => action)).toEqual(["device.register"]);
  });

  it("stand for themselves: what is wrong with one is said of it, and keeps nobody out", async () => {
    const there = await enrolDevice(service, { serialNumber: `there-${randomUUID()}` });
    const { device } = await service.client().unary(DeviceService.method.getDevice, { id: there.id });
    const serialNumber = device?.serialNumber ?? "";
    const good = newDevice();
    const results = await create({
      devices: [
        { ...board, serialNumber: "" },
        { ...newDevice(), groups: ["no good"] },
        { ...newDevice(), metadata: { "": "nameless" } },
        good,
        { ...board, serialNumber },
        { ...good },
        { ...board, serialNumber, hardwareModel: "tx-300" },
        { ...newDevice(), deviceType: 'thermo"stat' },
      ],
    });
    expect(words(results)).toEqual([
      "INVALID_REQUEST",
      "INVALID_REQUEST",
      "INVALID_REQUEST",
      "created",
      "existing",
      "DUPLICATE",
      "DUPLICATE",
      "INVALID_REQUEST",
    ]);
    expect(results.map(({ failure }) => failure?.field)).toEqual([
      "serial_number",
      "groups[0]",
      expect.stringContaining("metadata"),
      undefined,
      undefined,
      "serial_number",
      "serial_number",
      "device_type",
    ]);
    expect(results[4]).toMatchObject({ deviceId: there.id, deviceToken: "" });
    expect(await holderOf(there.token)).toBe(there.id);
  });

  it("are made once by a request that is sent again, with tokens that work instead of the lost ones", async () => {
    const requestId = randomUUID();
    const devices = [newDevice(), newDevice()];
    const before = await create({ requestId, devices });
    const again = await create({ requestId, devices });
    expect(again.map(({ deviceId }) => deviceId)).toEqual(before.map(({ deviceId }) => deviceId));
    expect(words(again)).toEqual(["created", "created"]);
    for (const [place, { deviceId, deviceToken }] of again.entries()) {
      expect(await holderOf(deviceToken)).toBe(deviceId);
      expect(await holderOf(before[place]?.deviceToken ?? "")).toBe("CREDENTIAL_REVOKED");
    }
    const another = create({ requestId, devices: [newDevice()] });
    expect((await refusal(another)).reason).toBe("REQUEST_ID_REUSED");
  });

  it("lose their connections, and have it on record, where a request that is sent again takes their tokens away", async () => {
    const request = { requestId: randomUUID(), devices: [newDevice(), newDevice()] };
    const [speaking, silent] = await create(request);
    const { deviceId = "", deviceToken } = speaking ?? {};
    const stream = service.client(deviceToken).bidi(HeartbeatService.method.streamHeartbeats);
    const answers = stream[Symbol.asyncIterator]();
    await stream.send({ message: { case: "hello", value: { deviceId, firmwareVersion: "1.0.0" } } });
    expect((await answers.next()).value?.message.case).toBe("welcome");

    await create(request);

    for (const resourceId of [deviceId, silent?.deviceId ?? ""]) {
      const { events } = await service.client().unary(AccessService.method.listAuditEvents, { resourceId });
      expect(events.map(({ action }) => action)).toEqual(["device.reissue_credential", "device.register"]);
    }
    expect((await refusal(answers.next())).reason).toBe("CREDENTIAL_REVOKED");
  });

  it("are there already for another request, which changes nothing of them", async () => {
    const devices = [newDevice(), newDevice()];
    const before = await create({ devices });
    const again = await create({ devices: [...devices, newDevice()] });
    expect(words(again)).toEqual(["existing", "existing", "created"]);
    for (const { deviceId, deviceToken } of before) expect(await holderOf(deviceToken)).toBe(deviceId);
  });

  it("are made once by requests at the same time, in whatever order they name them", async () => {
    const devices = Array.from({ length: 200 }, newDevice);
    const both = await Promise.all([create({ devices }), create({ devices: devices.toReversed() })]);
    const made = both.flat().filter(({ deviceToken }) => deviceToken !== "");
    expect(made).toHaveLength(200);
    expect(new Set(both.flat().map(({ deviceId }) => deviceId)).size).toBe(200);
    expect(both.flat().filter(({ failure }) => failure !== undefined)).toEqual([]);
  });

  it("enrol by themselves, once, where they are to get no tokens", async () => {
    const device = newDevice();
    const [made] = await create({ devices: [device], enrolWithin: durationFromMs(3_600_000) });
    expect(made?.deviceToken).toBe("");
    const enrolled = await enrolDevice(service, { ...device });
    expect(enrolled.id).toBe(made?.deviceId);
    expect(await holderOf(enrolled.token)).toBe(enrolled.id);
    expect((await refusal(enrolDevice(service, { ...device, requestId: randomUUID() }))).reason).toBe(
      "DUPLICATE",
    );
  });

  it("come over Connect and REST alike, a thousand at once and no more", async () => {
    const client = connectClient(service, DeviceService, service.adminToken);
    const { results } = await client.createDevices({ requestId: randomUUID(), devices: [newDevice()] });
    expect(words(results)).toEqual(["created"]);
    const post = (devices: unknown[]) =>
      http(service, "POST", "/api/v1/devices:batchCreate", {
        token: service.adminToken,
        body: { requestId: randomUUID(), devices },
      });
    const thousand = await post(Array.from({ length: 1_000 }, newDevice));
    expect([thousand.status, thousand.body.results.length]).toEqual([200, 1_000]);
    const more = await post(Array.from({ length: 1_001 }, newDevice));
    expect([more.status, (await post([])).status]).toEqual([400, 400]);
    expect(
      (await refusal(create({ devices: [newDevice()], enrolWithin: durationFromMs(0) }))).fields,
    ).toEqual(["enrol_within"]);
  });
});
