import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "minio";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Firmware } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { type DownloadHeader, type Offer, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { downloadFirmware } from "../../src/agent/firmware-download.ts";
import { type EnrolledDevice, enrolDevice, newContent, publish } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { startSwift, swiftIsInstalled } from "../support/swift.ts";

const { method } = UpdateService;
const content = newContent(700_000);

describe.runIf(swiftIsInstalled())("a rollout whose devices download from the object store", () => {
  let cleanup: AsyncDisposableStack;
  let service: TestService;
  let firmware: Firmware;
  let device: EnrolledDevice;
  let offer: Offer;
  beforeAll(async () => {
    cleanup = new AsyncDisposableStack();
    const { endpoint, accessKey, secretKey, region } = cleanup.use(await startSwift());
    const { hostname, port } = new URL(endpoint);
    const bucket = `ota-${randomBytes(4).toString("hex")}`;
    const client = new Client({
      endPoint: hostname,
      port: Number(port),
      useSSL: false,
      accessKey,
      secretKey,
      region,
    });
    await client.makeBucket(bucket, region);
    service = cleanup.use(
      await startTestService({
        settings: {
          DEVICE_OTA_STORAGE_TYPE: "s3",
          DEVICE_OTA_STORAGE_S3_ENDPOINT: endpoint,
          DEVICE_OTA_STORAGE_S3_BUCKET: bucket,
          DEVICE_OTA_STORAGE_S3_ACCESS_KEY: accessKey,
          DEVICE_OTA_STORAGE_S3_SECRET_KEY: secretKey,
          DEVICE_OTA_DOWNLOAD_URL_SECONDS: "600",
        },
      }),
    );
    firmware = await publish(service, content);
    await service.client().unary(FirmwareService.method.deployFirmware, {
      id: firmware.id,
      rings: [{ name: "all", percent: 100 }],
      policy: { directDownload: true },
    });
    device = await enrolDevice(service);
    const check = await service
      .client(device.token)
      .unary(method.checkForUpdate, { firmwareVersion: "1.0.0" });
    if (check.offer === undefined) throw new Error(`no offer: ${check.message}`);
    offer = check.offer;
  });
  afterAll(() => cleanup.disposeAsync());

  /** The header of a download over gRPC, and how many bytes followed. */
  async function download(request: { acceptUrl?: boolean; offset?: bigint }) {
    let header: DownloadHeader | undefined;
    let bytes = 0;
    const call = { updateId: offer.updateId, ...request };
    for await (const { message } of service
      .client(device.token)
      .serverStream(method.downloadFirmware, call)) {
      if (message.case === "header") header = message.value;
      if (message.case === "chunk") bytes += message.value.data.length;
    }
    if (header === undefined) throw new Error("no header came");
    return { header, bytes };
  }

  const byHttp = (
    query = "",
    { headers, ...init }: Omit<RequestInit, "headers"> & { headers?: Record<string, string> } = {},
  ) =>
    fetch(new URL(`${offer.downloadPath}${query}`, service.httpUrl), {
      redirect: "manual",
      ...init,
      headers: { authorization: `Bearer ${device.token}`, ...headers },
    });

  it("tells those that accept it over gRPC a URL instead of the bytes", async () => {
    const { header, bytes } = await download({ acceptUrl: true, offset: 100n });
    expect(header).toMatchObject({
      sizeBytes: 700_000n,
      offset: 100n,
      length: 699_900n,
      sha256: offer.sha256,
    });
    expect(header.urlLifetime?.seconds).toBe(600n);
    expect(bytes).toBe(0);
    const rest = await fetch(header.url, { headers: { range: "bytes=100-" } });
    expect(rest.status).toBe(206);
    expect(Buffer.from(await rest.arrayBuffer()).equals(content.subarray(100))).toBe(true);
  });

  it("gives all others the bytes over gRPC, and nobody a URL where nothing is left", async () => {
    expect(await download({})).toMatchObject({ bytes: 700_000, header: { url: "" } });
    expect(await download({ acceptUrl: true, offset: 700_000n })).toMatchObject({
      bytes: 0,
      header: { url: "" },
    });
  });

  it("redirects a GET over HTTP, with its range, and nobody keeps where to", async () => {
    const redirect = await byHttp();
    expect([redirect.status, redirect.headers.get("cache-control")]).toEqual([307, "no-store"]);
    const store = await fetch(redirect.headers.get("location") ?? "", { headers: { range: "bytes=5-9" } });
    expect(store.status).toBe(206);
    const followed = await byHttp("", { redirect: "follow" });
    expect(followed.headers.get("content-disposition")).toBe(`attachment; filename="${offer.sha256}.bin"`);
    expect(Buffer.from(await followed.arrayBuffer()).equals(content)).toBe(true);
  });

  it("serves itself over HTTP who asks for it, or goes on with what came from there", async () => {
    const etag = `"${offer.sha256}"`;
    const own = await byHttp("?direct=false");
    expect([own.status, own.headers.get("etag")]).toEqual([200, etag]);
    expect(Buffer.from(await own.arrayBuffer()).equals(content)).toBe(true);
    const rest = await byHttp("", { headers: { range: "bytes=5-", "if-range": etag } });
    expect([rest.status, rest.headers.get("etag")]).toEqual([206, etag]);
    expect(Buffer.from(await rest.arrayBuffer()).equals(content.subarray(5))).toBe(true);
  });

  it("tells about it itself over HTTP, because a URL is good for a GET alone", async () => {
    const head = await byHttp("", { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "700000"]);
    const known = await byHttp("", { headers: { "if-none-match": `"${offer.sha256}"` } });
    expect(known.status).toBe(304);
  });

  it("tells no URL to a device that was not offered it", async () => {
    const other = await enrolDevice(service);
    const answer = await byHttp("", { headers: { authorization: `Bearer ${other.token}` } });
    expect([answer.status, answer.headers.get("location")]).toEqual([403, null]);
  });

  it("brings the whole to the agent, of which no byte passes the service", async () => {
    const folder = await mkdtemp(join(tmpdir(), "device-ota-direct-"));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, "content");
    const before = await downloadedBytes();
    const failed: unknown[] = [];
    await downloadFirmware(
      {
        client: service.client(device.token),
        updateId: offer.updateId,
        sha256: offer.sha256,
        sizeBytes: content.length,
        path,
        durable: false,
        onProgress: () => undefined,
        onUrlFailed: (error) => failed.push(error),
      },
      new AbortController().signal,
    );
    expect(failed).toEqual([]);
    expect(
      createHash("sha256")
        .update(await readFile(path))
        .digest("hex"),
    ).toBe(offer.sha256);
    expect(await downloadedBytes()).toBe(before);
  });

  async function downloadedBytes(): Promise<number> {
    const text = await (await fetch(new URL("/metrics", service.httpUrl))).text();
    const values = text.matchAll(/^device_ota_downloaded_bytes_total\{[^}]*\} (\d+)$/gm);
    return [...values].reduce((sum, [, value]) => sum + Number(value), 0);
  }
});

describe("a rollout that asks for direct downloads of a store that has no URLs", () => {
  it("gives the bytes themselves", async () => {
    await using service = await startTestService();
    const firmware = await publish(service, content);
    const { rollout } = await service.client().unary(FirmwareService.method.deployFirmware, {
      id: firmware.id,
      rings: [{ name: "all", percent: 100 }],
      policy: { directDownload: true },
    });
    const known = await service.client().unary(RolloutService.method.getRollout, { id: rollout?.id ?? "" });
    expect(known.rollout?.policy?.directDownload).toBe(true);
    const device = await enrolDevice(service);
    const client = service.client(device.token);
    const { offer } = await client.unary(method.checkForUpdate, { firmwareVersion: "1.0.0" });
    const bytes: Uint8Array[] = [];
    const call = { updateId: offer?.updateId ?? "", acceptUrl: true };
    for await (const { message } of client.serverStream(method.downloadFirmware, call)) {
      if (message.case === "chunk") bytes.push(message.value.data);
    }
    expect(Buffer.concat(bytes).equals(content)).toBe(true);
  });
});
