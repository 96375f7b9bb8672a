import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService, type UploadFirmwareRequestSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { generateSigningKey, signManifest } from "../../src/manifest/signature.ts";
import {
  bytes,
  createFirmware,
  http,
  httpRefusal,
  newContent,
  publish,
  refusal,
  registerKey,
  upload,
} from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = FirmwareService;

let service: TestService;
let client: RpcClient;
beforeAll(async () => {
  service = await startTestService();
  client = service.client();
});
afterAll(() => service[Symbol.asyncDispose]());

/** Sends exactly these messages as one upload stream. */
function send(...messages: MessageInitShape<typeof UploadFirmwareRequestSchema>[]) {
  async function* once() {
    yield* messages;
  }
  return client.clientStream(method.uploadFirmware, once());
}

async function stateOf(id: string): Promise<FirmwareState | undefined> {
  return (await client.unary(method.getFirmware, { id })).firmware?.state;
}

describe("a version that is no semantic version", () => {
  it.each(["1.2", "v1.2.3", "01.2.3", "1.2.3+build", " 1.2.3", "latest"])(
    "such as %j is refused",
    async (version) => {
      expect(await refusal(createFirmware(client, newContent(), { version }))).toEqual({
        code: "INVALID_ARGUMENT",
        reason: "INVALID_VERSION",
        fields: ["version"],
      });
    },
  );

  it("is refused over REST, with its field", async () => {
    const body = {
      product: "app",
      version: "1.2",
      deviceTypes: ["lamp"],
      sha256: "a".repeat(64),
      sizeBytes: 1,
    };
    const answer = await http(service, "POST", "/api/v1/firmware", { token: service.adminToken, body });
    expect(answer.status).toBe(400);
    expect(httpRefusal(answer)).toEqual({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_VERSION",
      fields: ["version"],
    });
  });

  it("is refused as the oldest version to install from", async () => {
    expect(await refusal(createFirmware(client, newContent(), { minCurrentVersion: "one" }))).toMatchObject({
      reason: "INVALID_VERSION",
      fields: ["min_current_version"],
    });
  });
});

describe("an upload", () => {
  it("shorter than declared is refused, stays invisible, and can go on", async () => {
    const content = newContent();
    const { id } = await createFirmware(client, content);
    const half = bytes(content.subarray(0, 10_000));
    expect(await refusal(send({ id, data: half, finish: true }))).toEqual({
      code: "FAILED_PRECONDITION",
      reason: "UPLOAD_INCOMPLETE",
      fields: [],
    });
    expect(await stateOf(id)).toBe(FirmwareState.DRAFT);
    expect(await client.unary(method.getFirmwareUpload, { id })).toMatchObject({ committedBytes: 10_000n });
    const rest = { id, offset: 10_000n, data: bytes(content.subarray(10_000)), finish: true };
    expect((await send(rest)).firmware?.state).toBe(FirmwareState.UPLOADED);
  });

  it("longer than declared is refused and thrown away", async () => {
    const content = newContent();
    const { id } = await createFirmware(client, content);
    const longer = bytes(Buffer.concat([content, Buffer.from("!")]));
    expect(await refusal(send({ id, data: longer, finish: true }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "SIZE_MISMATCH",
    });
    expect(await stateOf(id)).toBe(FirmwareState.DRAFT);
    expect(await client.unary(method.getFirmwareUpload, { id })).toMatchObject({ committedBytes: 0n });
  });

  it("of other bytes than declared is refused and thrown away; the right ones then pass", async () => {
    const content = newContent();
    const { id } = await createFirmware(client, content);
    expect(await refusal(upload(client, id, newContent(content.length)))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "DIGEST_MISMATCH",
    });
    expect(await stateOf(id)).toBe(FirmwareState.DRAFT);
    expect(await client.unary(method.getFirmwareUpload, { id })).toMatchObject({ committedBytes: 0n });
    expect((await upload(client, id, content)).firmware?.state).toBe(FirmwareState.UPLOADED);
  });

  it("with a chunk that was damaged on the way, or that leaves a gap, is refused", async () => {
    const content = newContent();
    const { id } = await createFirmware(client, content);
    const data = bytes(content.subarray(0, 1_000));
    expect(await refusal(send({ id, data, crc32c: 1 }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "DIGEST_MISMATCH",
    });
    expect(await refusal(send({ id, offset: 5n, data }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "UPLOAD_OFFSET_MISMATCH",
    });
  });

  it("of single chunks over REST obeys the same rules", async () => {
    const content = newContent(100);
    const { id } = await createFirmware(client, content);
    const post = (data: Buffer, offset = 0) =>
      http(service, "POST", `/api/v1/firmware/${id}/chunks`, {
        token: service.adminToken,
        body: { offset, data: data.toString("base64"), finish: true },
      });
    expect(httpRefusal(await post(newContent(101)))).toMatchObject({ reason: "SIZE_MISMATCH" });
    expect(httpRefusal(await post(newContent(100)))).toMatchObject({ reason: "DIGEST_MISMATCH" });
    expect(httpRefusal(await post(content.subarray(0, 99)))).toMatchObject({ reason: "UPLOAD_INCOMPLETE" });
    expect(httpRefusal(await post(content))).toMatchObject({ reason: "UPLOAD_OFFSET_MISMATCH" });
    expect((await post(content.subarray(99), 99)).body.firmware.state).toBe("FIRMWARE_STATE_UPLOADED");
  });
});

describe("a signature", () => {
  async function uploaded() {
    const content = newContent();
    const { id } = await createFirmware(client, content);
    await upload(client, id, content);
    const { manifest } = await client.unary(method.getFirmwareManifest, { id });
    return { id, manifest };
  }

  it("by another key than it names is refused", async () => {
    const [{ id, manifest }, key] = [await uploaded(), await registerKey(client)];
    const signature = bytes(signManifest(generateSigningKey().privateKeyPem, manifest));
    const call = client.unary(method.signFirmware, { id, manifest, keyId: key.keyId, signature });
    expect(await refusal(call)).toEqual({
      code: "INVALID_ARGUMENT",
      reason: "SIGNATURE_INVALID",
      fields: ["signature"],
    });
    expect(await stateOf(id)).toBe(FirmwareState.UPLOADED);
  });

  it("over a manifest of which one byte changed is refused", async () => {
    const [{ id, manifest }, key] = [await uploaded(), await registerKey(client)];
    const signature = bytes(signManifest(key.privateKeyPem, manifest));
    const altered = bytes(Buffer.from(Buffer.from(manifest).toString().replace('"1.1.0"', '"9.1.0"')));
    expect(altered).not.toEqual(manifest);
    const call = client.unary(method.signFirmware, { id, manifest: altered, keyId: key.keyId, signature });
    expect(await refusal(call)).toMatchObject({ code: "INVALID_ARGUMENT", reason: "SIGNATURE_INVALID" });
  });

  it("over the manifest of other firmware is refused, though it is right", async () => {
    const [{ id }, other, key] = [await uploaded(), await uploaded(), await registerKey(client)];
    const { manifest } = other;
    const signature = bytes(signManifest(key.privateKeyPem, manifest));
    const call = client.unary(method.signFirmware, { id, manifest, keyId: key.keyId, signature });
    expect(await refusal(call)).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_MANIFEST",
      fields: ["manifest"],
    });
  });

  it("by a key that is not registered, or was revoked, is refused", async () => {
    const [{ id, manifest }, key] = [await uploaded(), await registerKey(client)];
    const unknown = generateSigningKey();
    const sign = ({ privateKeyPem, keyId }: typeof unknown) =>
      client.unary(method.signFirmware, {
        id,
        manifest,
        keyId,
        signature: bytes(signManifest(privateKeyPem, manifest)),
      });
    expect(await refusal(sign(unknown))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SIGNING_KEY_UNKNOWN",
    });
    await client.unary(AccessService.method.revokeSigningKey, { id: key.keyId, reason: "stolen" });
    expect(await refusal(sign(key))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SIGNING_KEY_REVOKED",
    });
  });
});

describe("a deployment", () => {
  it("of firmware without a signature is refused, over gRPC and REST", async () => {
    const content = newContent();
    const { id } = await createFirmware(client, content);
    await upload(client, id, content);
    const expected = { code: "FAILED_PRECONDITION", reason: "FIRMWARE_NOT_SIGNED", fields: [] };
    expect(await refusal(client.unary(method.deployFirmware, { id }))).toEqual(expected);
    const path = `/api/v1/firmware/${id}/deploy`;
    const rest = await http(service, "POST", path, { token: service.adminToken, body: { ring: "canary" } });
    expect(rest.status).toBe(400);
    expect(httpRefusal(rest)).toEqual(expected);
  });

  it("of firmware without content is refused", async () => {
    const { id } = await createFirmware(client, newContent());
    expect(await refusal(client.unary(method.deployFirmware, { id }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "FIRMWARE_NOT_READY",
    });
  });

  it("to a ring that the rollout does not have is refused, and leaves no rollout behind", async () => {
    const { id } = await publish(service, newContent());
    const unknownRing = { code: "INVALID_ARGUMENT", reason: "UNKNOWN_RING", fields: ["ring"] };
    expect(await refusal(client.unary(method.deployFirmware, { id, ring: "nowhere" }))).toEqual(unknownRing);
    const { rollouts } = await client.unary(RolloutService.method.listRollouts, { firmwareId: id });
    expect(rollouts).toEqual([]);

    const { rollout } = await client.unary(method.deployFirmware, { id });
    const promotion = { id: rollout?.id ?? "", ring: "nowhere" };
    expect(await refusal(client.unary(RolloutService.method.promoteRollout, promotion))).toEqual(unknownRing);
  });
});

describe("a page token", () => {
  const wrongToken = { code: "INVALID_ARGUMENT", reason: "INVALID_PAGE_TOKEN", fields: ["page_token"] };
  const product = "paged";
  let token: string;

  beforeAll(async () => {
    for (const version of ["1.0.0", "1.0.1"])
      await createFirmware(client, newContent(), { product, version });
    token = (await client.unary(method.listFirmware, { product, pageSize: 1 })).nextPageToken;
  });

  it("leads to the next page of its list, over any door", async () => {
    const { firmware } = await client.unary(method.listFirmware, { product, pageSize: 1, pageToken: token });
    const query = new URLSearchParams({ product, page_size: "1", page_token: token });
    const rest = await http(service, "GET", `/api/v1/firmware?${query.toString()}`, {
      token: service.adminToken,
    });
    expect(firmware.map(({ version }) => version)).toEqual(["1.0.0"]);
    expect(rest.body.firmware).toEqual([expect.objectContaining({ version: "1.0.0" })]);
  });

  it("of another filter is refused", async () => {
    const other = { product: "other", pageSize: 1, pageToken: token };
    expect(await refusal(client.unary(method.listFirmware, other))).toEqual(wrongToken);
    const query = new URLSearchParams({ product: "other", pageToken: token });
    const rest = await http(service, "GET", `/api/v1/firmware?${query.toString()}`, {
      token: service.adminToken,
    });
    expect(rest.status).toBe(400);
    expect(httpRefusal(rest)).toEqual({ ...wrongToken, fields: ["pageToken"] });
  });

  it("of another list is refused, as is one that nobody made", async () => {
    const devices = client.unary(DeviceService.method.listDevices, { pageToken: token });
    expect(await refusal(devices)).toEqual(wrongToken);
    const altered = `${token.slice(0, -2)}${token.endsWith("AA") ? "BB" : "AA"}`;
    for (const pageToken of [altered, "nonsense"]) {
      expect(await refusal(client.unary(method.listFirmware, { product, pageToken }))).toEqual(wrongToken);
    }
  });
});
