import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { crc32c } from "@node-rs/crc32";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FirmwareState, UpdateKind } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService, UploadFirmwareRequestSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import type { CallContext, Endpoint } from "../../src/api/pipeline/endpoint.ts";
import { PageTokens } from "../../src/call/page-token.ts";
import { firmwareEndpoints } from "../../src/firmware/firmware-handlers.ts";
import { createLogger } from "../../src/infra/logger.ts";
import {
  type CatalogFixture,
  content,
  createCatalogFixture,
  fields,
  openDatabase,
  signatureOf,
} from "./catalog-fixture.ts";

const context: CallContext = {
  identity: { kind: "operator", tokenId: "1", name: "test", role: "operator" },
  requestId: "request",
  signal: new AbortController().signal,
  peer: "127.0.0.1",
  door: "grpc",
  logger: createLogger({ level: "silent", pretty: false }),
  lasts: () => undefined,
  waited: () => undefined,
};
const wireFields = {
  ...fields,
  kind: UpdateKind.FIRMWARE,
  deviceTypes: [...fields.deviceTypes],
  hardwareModels: [...fields.hardwareModels],
  reportedVersions: [...fields.reportedVersions],
  metadata: { ...fields.metadata },
  minFreeStorageBytes: BigInt(fields.minFreeStorageBytes),
  sizeBytes: BigInt(fields.sizeBytes),
  securityCounter: BigInt(fields.securityCounter),
};

let opened: Awaited<ReturnType<typeof openDatabase>>;
let fixture: CatalogFixture;
let endpoints: Endpoint[];

beforeAll(async () => {
  opened = await openDatabase();
});

afterAll(() => opened[Symbol.asyncDispose]());

beforeEach(async () => {
  fixture = await createCatalogFixture(opened.database);
  const { catalog, uploads } = fixture;
  endpoints = firmwareEndpoints({ catalog, uploads, pageTokens: new PageTokens(Buffer.alloc(32, 7)) });
});

afterEach(() => fixture[Symbol.asyncDispose]());

/** Calls a method as the pipeline does, and returns the answer as a client sees it. */
async function call<I extends DescMessage, O extends DescMessage>(
  method: { input: I; output: O; name: string },
  request: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  const endpoint = endpoints.find((row) => row.method.name === method.name);
  if (endpoint?.kind !== "unary") throw new Error(`${method.name} is not unary`);
  return create(
    method.output,
    (await endpoint.handle(create(method.input, request), context)) as MessageInitShape<O>,
  );
}

async function upload(...messages: MessageInitShape<typeof UploadFirmwareRequestSchema>[]) {
  const endpoint = endpoints.find((row) => row.method.name === "UploadFirmware");
  if (endpoint?.kind !== "client_stream") throw new Error("UploadFirmware is no client stream");
  async function* stream() {
    for (const message of messages) yield create(UploadFirmwareRequestSchema, message);
  }
  const { uploadFirmware } = FirmwareService.method;
  return create(
    uploadFirmware.output,
    (await endpoint.handle(stream(), context)) as MessageInitShape<typeof uploadFirmware.output>,
  );
}

const { method } = FirmwareService;
const createOne = async (version = "1.4.0") =>
  (await call(method.createFirmware, { ...wireFields, version })).firmware ?? expect.fail("no firmware");

describe("firmware endpoints", () => {
  it("are all of FirmwareService but what makes rollouts and what stands beside a firmware, for operators", () => {
    const ofOthers = new Set([
      "AttachFirmwareFile",
      "DetachFirmwareFile",
      "DownloadFirmwareAttachment",
      "DeployFirmware",
      "RecallFirmware",
      "ReinstateFirmware",
      "PreviewRecall",
      "ListRecalls",
    ]);
    const names = FirmwareService.methods.map(({ name }) => name).filter((name) => !ofOthers.has(name));
    expect(endpoints.map((row) => row.method.name)).toEqual(names);
    for (const { access } of endpoints) {
      expect(access.role).toMatch(/viewer|operator/);
      expect(access.device).toBeUndefined();
    }
  });

  it("bring a firmware from creation to release", async () => {
    const created = await createOne();
    expect(created).toMatchObject({ ...wireFields, state: FirmwareState.DRAFT, manifest: new Uint8Array() });
    expect(created.createTime).toBeDefined();
    expect(created.releaseTime).toBeUndefined();

    const half = content.length / 2;
    expect(await upload({ id: created.id, data: content.subarray(0, half) })).toMatchObject({
      committedBytes: BigInt(half),
    });
    expect(await call(method.getFirmwareUpload, { id: created.id })).toMatchObject({
      committedBytes: BigInt(half),
      sizeBytes: BigInt(content.length),
    });
    const data = content.subarray(half);
    const finished = await upload(
      { id: created.id, offset: 0n, data: content.subarray(0, half) },
      { offset: BigInt(half), data, crc32c: crc32c(data) },
      { offset: BigInt(content.length), finish: true },
    );
    expect(finished.firmware).toMatchObject({ state: FirmwareState.UPLOADED });

    const { manifest } = await call(method.getFirmwareManifest, { id: created.id });
    const { keyId, signature } = signatureOf(await fixture.registerKey(), manifest);
    const signed = await call(method.signFirmware, { id: created.id, manifest, keyId, signature });
    expect(signed.firmware).toMatchObject({
      state: FirmwareState.RELEASED,
      signatures: [{ keyId, algorithm: "ed25519" }],
    });
    expect(signed.firmware?.manifest).toEqual(manifest);
    expect(signed.firmware?.releaseTime).toBeDefined();
    expect(await call(method.getFirmware, { id: created.id })).toMatchObject({
      firmware: { ...signed.firmware },
    });
  });

  it("take single chunks, and answer offsets of any size", async () => {
    const { id } = await createOne();
    const chunk = { id, offset: 0n, data: content };
    expect(await call(method.uploadFirmwareChunk, chunk)).toMatchObject({
      committedBytes: BigInt(content.length),
    });
    await expect(
      call(method.uploadFirmwareChunk, { id, offset: 2n ** 64n - 1n, data: content }),
    ).rejects.toMatchObject({ reason: "UPLOAD_OFFSET_MISMATCH" });
    const end = { id, offset: BigInt(content.length), finish: true };
    expect(await call(method.uploadFirmwareChunk, end)).toMatchObject({
      firmware: { state: FirmwareState.UPLOADED },
    });
  });

  it("refuse a stream that does not say which firmware it is for", async () => {
    await expect(upload({ data: content })).rejects.toMatchObject({ fields: [{ field: "id" }] });
    await expect(upload()).rejects.toMatchObject({ fields: [{ field: "id" }] });
  });

  it("change only fields that are set", async () => {
    const { id } = await createOne();
    const { firmware } = await call(method.updateFirmware, {
      id,
      releaseNotes: "New.",
      minFreeStorageBytes: 0n,
      hardwareModels: { names: [] },
      metadata: { entries: { a: "b" } },
    });
    expect(firmware).toMatchObject({
      ...wireFields,
      releaseNotes: "New.",
      minFreeStorageBytes: 0n,
      hardwareModels: [],
      metadata: { a: "b" },
    });
  });

  it("list page by page, and refuse a page token of another filter", async () => {
    for (const version of ["1.0.0", "1.1.0", "1.2.0"]) await createOne(version);
    const first = await call(method.listFirmware, { pageSize: 2, deviceType: "thermostat" });
    expect(first.firmware.map(({ version }) => version)).toEqual(["1.2.0", "1.1.0"]);
    const request = { pageSize: 2, pageToken: first.nextPageToken };
    const second = await call(method.listFirmware, { ...request, deviceType: "thermostat" });
    expect(second.firmware.map(({ version }) => version)).toEqual(["1.0.0"]);
    expect(second.nextPageToken).toBe("");
    await expect(call(method.listFirmware, { ...request, deviceType: "toaster" })).rejects.toMatchObject({
      reason: "INVALID_PAGE_TOKEN",
    });
  });

  it("delete, and show what is deleted when asked", async () => {
    const { id } = await createOne();
    const { firmware } = await call(method.deleteFirmware, { id });
    expect(firmware?.deleteTime).toBeDefined();
    expect((await call(method.listFirmware, {})).firmware).toEqual([]);
    expect((await call(method.listFirmware, { showDeleted: true })).firmware).toHaveLength(1);
    expect((await call(method.getFirmware, { id })).firmware?.deleteTime).toEqual(firmware?.deleteTime);
  });
});
