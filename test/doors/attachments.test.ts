import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AttachmentKind, type Firmware, FirmwareState } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import type { RpcClient } from "../../src/client/rpc-client.ts";
import { createManifest, parseManifest } from "../../src/manifest/manifest.ts";
import { signManifest } from "../../src/manifest/signature.ts";
import {
  bytes,
  createFirmware,
  enrolDevice,
  http,
  httpRefusal,
  mintToken,
  newContent,
  refusal,
  registerKey,
  upload,
} from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

const { method } = FirmwareService;
const maxBytes = 200_000;

let service: TestService;
let client: RpcClient;
beforeAll(async () => {
  service = await startTestService({
    settings: { DEVICE_OTA_MAX_ATTACHMENT_BYTES: String(maxBytes) },
  });
  client = service.client();
});
afterAll(() => service[Symbol.asyncDispose]());

/** A bill of materials that no other test has. */
function newSbom(sizeBytes = 0): Buffer {
  const sbom = { bomFormat: "CycloneDX", specVersion: "1.6", serialNumber: `urn:uuid:${randomUUID()}` };
  return Buffer.from(JSON.stringify({ ...sbom, filling: "x".repeat(sizeBytes) }));
}

const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

async function uploaded(): Promise<Firmware> {
  const content = newContent(500);
  const firmware = await createFirmware(client, content);
  await upload(client, firmware.id, content);
  return firmware;
}

function attach(id: string, content: Uint8Array, { by = client, fileName = "sbom.json" } = {}) {
  async function* messages() {
    yield { id, fileName, data: bytes(content.subarray(0, 100_000)) };
    if (content.length > 100_000) yield { data: bytes(content.subarray(100_000)) };
  }
  return by.clientStream(method.attachFirmwareFile, messages());
}

async function manifestOf(id: string): Promise<Uint8Array<ArrayBuffer>> {
  return bytes((await client.unary(method.getFirmwareManifest, { id })).manifest);
}

async function sign(id: string, manifest: Uint8Array<ArrayBuffer>) {
  const { keyId, privateKeyPem } = await registerKey(client);
  const signature = bytes(signManifest(privateKeyPem, manifest));
  return client.unary(method.signFirmware, { id, manifest, keyId, signature });
}

async function downloaded(id: string, attachmentId: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { data } of client.serverStream(method.downloadFirmwareAttachment, { id, attachmentId })) {
    pieces.push(data);
  }
  return Buffer.concat(pieces);
}

describe("a file beside a firmware", () => {
  it("is bound by what is signed, and comes back as it was, over gRPC and HTTP", async () => {
    const { id } = await uploaded();
    const sbom = newSbom(150_000);
    const { attachment } = await attach(id, sbom);
    expect(attachment).toMatchObject({
      kind: AttachmentKind.CYCLONEDX,
      format: "CycloneDX 1.6",
      sha256: sha256(sbom),
      sizeBytes: BigInt(sbom.length),
      fileName: "sbom.json",
    });
    const provenance = {
      _type: "https://in-toto.io/Statement/v1",
      predicateType: "https://slsa.dev/provenance/v1",
    };
    const token = service.adminToken;
    const path = `/api/v1/firmware/${id}/attachments`;
    const posted = await http(service, "POST", `${path}?fileName=a%22b.json`, { token, body: provenance });
    expect(posted).toMatchObject({ status: 201, body: { attachment: { kind: "ATTACHMENT_KIND_IN_TOTO" } } });

    const manifest = await manifestOf(id);
    expect(parseManifest(manifest).attachments).toEqual([
      { kind: "cyclonedx", sha256: sha256(sbom), sizeBytes: sbom.length },
      expect.objectContaining({ kind: "in-toto" }),
    ]);
    const { firmware } = await sign(id, manifest);
    expect(firmware).toMatchObject({ state: FirmwareState.RELEASED, attachments: { length: 2 } });

    expect((await downloaded(id, attachment?.id ?? "")).equals(sbom)).toBe(true);
    const saved = await http(service, "GET", `${path}/${posted.body.attachment.id}`, { token });
    expect(saved.headers.get("content-disposition")).toBe('attachment; filename="a_b.json"');
    expect(saved.headers.get("content-type")).toBe("application/octet-stream");
    expect(JSON.parse(saved.body)).toEqual(provenance);
  });

  it("discards what was signed without it, and cannot be left out of a manifest", async () => {
    const { id } = await createFirmware(client, newContent(10));
    const before = await manifestOf(id);
    await sign(id, before);
    const { firmware } = await attach(id, newSbom());
    expect(firmware?.signatures).toEqual([]);
    const refused = { code: "INVALID_ARGUMENT", reason: "INVALID_MANIFEST", fields: ["manifest"] };
    expect(await refusal(sign(id, before))).toEqual(refused);
    const named = parseManifest(await manifestOf(id));
    const more = [
      ...(named.attachments ?? []),
      { kind: "spdx", sha256: "ab".repeat(32), sizeBytes: 1 } as const,
    ];
    expect(await refusal(sign(id, bytes(createManifest({ ...named, attachments: more }))))).toEqual(refused);
  });

  it("is there once, and away once it is taken away, with what was signed", async () => {
    const { id } = await createFirmware(client, newContent(10));
    const sbom = newSbom();
    const first = await attach(id, sbom);
    expect(await attach(id, sbom)).toMatchObject({
      unchanged: true,
      attachment: { id: first.attachment?.id },
    });
    await sign(id, await manifestOf(id));
    // The same bytes lie beside another firmware, which keeps them.
    const other = await createFirmware(client, newContent(10));
    const kept = await attach(other.id, sbom);
    const attachmentId = first.attachment?.id ?? "";
    const { firmware } = await client.unary(method.detachFirmwareFile, { id, attachmentId });
    expect(firmware).toMatchObject({ attachments: [], signatures: [] });
    expect(await refusal(downloaded(id, attachmentId))).toMatchObject({ code: "NOT_FOUND" });
    expect(await refusal(downloaded(id, kept.attachment?.id ?? ""))).toMatchObject({ code: "NOT_FOUND" });
    expect((await downloaded(other.id, kept.attachment?.id ?? "")).equals(sbom)).toBe(true);
  });

  it("stays as it is once the firmware is released", async () => {
    const { id } = await uploaded();
    const { attachment } = await attach(id, newSbom());
    await sign(id, await manifestOf(id));
    const refused = { code: "FAILED_PRECONDITION", reason: "FIRMWARE_IMMUTABLE", fields: ["attachments"] };
    expect(await refusal(attach(id, newSbom()))).toEqual(refused);
    const attachmentId = attachment?.id ?? "";
    expect(await refusal(client.unary(method.detachFirmwareFile, { id, attachmentId }))).toEqual(refused);
  });
});

describe("refused is", () => {
  let id: string;
  beforeAll(async () => {
    ({ id } = await createFirmware(client, newContent(10)));
  });

  it("what is of no known format, or too large", async () => {
    const path = `/api/v1/firmware/${id}/attachments`;
    const invalid = { code: "INVALID_ARGUMENT", reason: "INVALID_ATTACHMENT", fields: ["data"] };
    expect(await refusal(attach(id, Buffer.from("<html>")))).toEqual(invalid);
    const posted = await http(service, "POST", path, { token: service.adminToken, body: { evil: true } });
    expect(httpRefusal(posted)).toEqual(invalid);
    expect(await refusal(attach(id, newSbom(maxBytes)))).toMatchObject({ reason: "SIZE_MISMATCH" });
    const { firmware } = await client.unary(method.getFirmware, { id });
    expect(firmware?.attachments).toEqual([]);
  });

  it("the seventeenth", async () => {
    const { id: full } = await createFirmware(client, newContent(10));
    for (let count = 0; count < 16; count++) await attach(full, newSbom());
    expect(await refusal(attach(full, newSbom()))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "TOO_MANY_ATTACHMENTS",
    });
  });

  it("whoever may not, and a firmware that is not there", async () => {
    const viewer = service.client((await mintToken(service, Role.VIEWER)).secret);
    const required = { code: "PERMISSION_DENIED", reason: "ROLE_REQUIRED" };
    expect(await refusal(attach(id, newSbom(), { by: viewer }))).toMatchObject(required);
    const device = await enrolDevice(service);
    const path = `/api/v1/firmware/${id}/attachments`;
    expect((await http(service, "POST", path, { token: device.token, body: {} })).status).toBe(403);
    expect((await http(service, "GET", `${path}/${randomUUID()}`, { token: device.token })).status).toBe(403);
    expect((await http(service, "GET", `${path}/${randomUUID()}`)).status).toBe(401);
    expect((await http(service, "GET", `${path}/..%2F..`, { token: service.adminToken })).status).toBe(400);
    expect(await refusal(attach(randomUUID(), newSbom()))).toMatchObject({ code: "NOT_FOUND" });
  });
});
