import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Firmware } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeviceUpdateState } from "../../gen/ota/v1/rollout_pb.js";
import { type Offer, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import {
  connectClient,
  type EnrolledDevice,
  enrolDevice,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = UpdateService;
const content = newContent(300_000);

let service: TestService;
let firmware: Firmware;
let device: EnrolledDevice;
let other: EnrolledDevice;
let offer: Offer;
beforeAll(async () => {
  service = await startTestService();
  firmware = await publish(service, content);
  const rings = [{ name: "all", percent: 100 }];
  await service.client().unary(FirmwareService.method.deployFirmware, { id: firmware.id, rings });
  device = await enrolDevice(service);
  other = await enrolDevice(service);
  const check = await service.client(device.token).unary(method.checkForUpdate, { firmwareVersion: "1.0.0" });
  if (check.offer === undefined) throw new Error(`no offer: ${check.message}`);
  offer = check.offer;
});
afterAll(() => service[Symbol.asyncDispose]());

/** Downloads over gRPC to the end. */
async function download(token: string, request: { updateId: string; offset?: bigint; limit?: bigint }) {
  const parts: Uint8Array[] = [];
  let length = -1;
  for await (const { message } of service.client(token).serverStream(method.downloadFirmware, request)) {
    if (message.case === "header") length = Number(message.value.length);
    if (message.case === "chunk") parts.push(message.value.data);
  }
  const data = Buffer.concat(parts);
  expect(data.length).toBe(length);
  return data;
}

describe("a download of what was offered", () => {
  it("brings the exact bytes over gRPC, whole and from an offset", async () => {
    const whole = await download(device.token, { updateId: offer.updateId });
    expect(createHash("sha256").update(whole).digest("hex")).toBe(offer.sha256);
    const rest = await download(device.token, { updateId: offer.updateId, offset: 299_990n });
    expect(rest).toEqual(content.subarray(299_990));
  });

  it("brings the exact bytes over HTTP, whole and by range", async () => {
    const url = new URL(offer.downloadPath, service.httpUrl);
    const authorization = `Bearer ${device.token}`;
    const whole = await fetch(url, { headers: { authorization } });
    expect(Buffer.from(await whole.arrayBuffer())).toEqual(content);
    const part = await fetch(url, { headers: { authorization, range: "bytes=299990-" } });
    expect(part.status).toBe(206);
    expect(part.headers.get("content-range")).toBe("bytes 299990-299999/300000");
    expect(Buffer.from(await part.arrayBuffer())).toEqual(content.subarray(299_990));
  });

  it("from the very end has no content, and is no error", async () => {
    expect(await download(device.token, { updateId: offer.updateId, offset: 300_000n })).toHaveLength(0);
  });
});

describe("a download from past the end", () => {
  it.each([300_001n, 2n ** 53n - 1n])("at %d is out of range over gRPC", async (offset) => {
    expect(await refusal(download(device.token, { updateId: offer.updateId, offset }))).toEqual({
      code: "OUT_OF_RANGE",
      reason: "OFFSET_OUT_OF_RANGE",
      fields: [],
    });
  });

  it("at what no client can count to is refused as such", async () => {
    const offset = 2n ** 64n - 1n;
    expect(await refusal(download(device.token, { updateId: offer.updateId, offset }))).toEqual({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      fields: ["offset"],
    });
  });

  it("cannot be satisfied over HTTP", async () => {
    const answer = await http(service, "GET", offer.downloadPath, {
      token: device.token,
      headers: { range: "bytes=300000-" },
    });
    expect(answer.status).toBe(416);
    expect(answer.headers.get("content-range")).toBe("bytes */300000");
    expect(httpRefusal(answer)).toMatchObject({ code: "OUT_OF_RANGE", reason: "OFFSET_OUT_OF_RANGE" });
  });
});

describe("what was not offered to the device", () => {
  const notOffered = { code: "PERMISSION_DENIED", reason: "NOT_OFFERED", fields: [] };
  const nothing = "0199aaaa-0000-7000-8000-000000000000";

  it("cannot be downloaded over gRPC or Connect, be it another device's or nobody's", async () => {
    for (const updateId of [offer.updateId, nothing]) {
      expect(await refusal(download(other.token, { updateId }))).toEqual(notOffered);
      const stream = connectClient(service, UpdateService, other.token).downloadFirmware({ updateId });
      expect(await refusal(stream[Symbol.asyncIterator]().next())).toEqual(notOffered);
    }
  });

  it("cannot be downloaded over HTTP", async () => {
    for (const path of [offer.downloadPath, offer.downloadPath.replace(offer.updateId, nothing)]) {
      const answer = await http(service, "GET", path, { token: other.token });
      expect(answer.status).toBe(403);
      expect(httpRefusal(answer)).toEqual(notOffered);
    }
  });

  it("cannot be downloaded by an operator or a stranger either", async () => {
    const operator = await http(service, "GET", offer.downloadPath, { token: service.adminToken });
    expect(operator.status).toBe(403);
    expect(httpRefusal(operator)).toMatchObject({ reason: "ROLE_REQUIRED" });
    const stranger = await http(service, "GET", offer.downloadPath);
    expect(stranger.status).toBe(401);
    expect(httpRefusal(stranger)).toMatchObject({ reason: "CREDENTIAL_MISSING" });
  });

  it("cannot be reported on", async () => {
    const report = { updateId: offer.updateId, state: DeviceUpdateState.DOWNLOADED };
    const call = service.client(other.token).unary(method.reportUpdateStatus, report);
    expect(await refusal(call)).toEqual(notOffered);
  });
});
