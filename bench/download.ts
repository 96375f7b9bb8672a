import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@grpc/grpc-js";
import { FirmwareService } from "../gen/ota/v1/firmware_service_pb.js";
import {
  DownloadFirmwareRequestSchema,
  DownloadFirmwareResponseSchema,
  type Offer,
  UpdateService,
} from "../gen/ota/v1/update_service_pb.js";
import { RpcClient } from "../src/client/rpc-client.ts";
import type { MeasuredProcess } from "./harness/measured-process.ts";
import type { BenchResult } from "./harness/result.ts";
import { releaseFirmware } from "./load/admin.ts";
import type { DownloadWork } from "./load/download-reader.ts";
import { deviceTokenOf, seedFleet } from "./load/fleet.ts";
import { asIs, bearer, connect } from "./load/raw-client.ts";
import { type FloorReady, type ProductReady, readDownloads, startFloor, startProduct } from "./processes.ts";

const mebibyte = 1024 * 1024;

/** How often each figure is taken, in pairs with its floor; the pair with the median ratio counts. */
const rounds = 5;

/** How many connections read at once, one figure each. */
const connectionCounts = [1, 4, 32];

/** What devices with little memory ask for at a time. */
const rangeBytes = 128 * 1024;

/**
 * CPU of the service for each MB (each HEAD) that it serves, against a bare node:http that pipes the same file or range, and
 * a bare grpc-js stream of the same chunks; and whether its memory grows with the file's size. Who reads is a process of
 * its own and costs less than who serves, so neither figure is the reader's.
 */
export async function download(options: { quick: boolean }): Promise<BenchResult[]> {
  const sizes = options.quick ? [8 * mebibyte, 32 * mebibyte] : [64 * mebibyte, 256 * mebibyte];
  const [small = 0, large = 0] = sizes;
  await using product = await startProduct(downloadSettings);
  await seedFleet(product.ready.databaseUrl, 1, "small");
  const offer = await offerOf(product.ready, 0, "small", small);
  const chunkBytes = await chunkBytesOf(product.ready.grpcAddress, offer);
  const file = storedFile(product.ready.storageFolder, offer.sha256);
  await using floor = await startFloor({ file, chunkBytes });

  const totalBytes = options.quick ? 256 * mebibyte : 1024 * mebibyte;
  const results: BenchResult[] = [];
  const path = new URL(offer.downloadPath, product.ready.httpUrl).pathname;
  const get: Asked = { method: "GET", path };
  for (const connections of connectionCounts) {
    const downloads = Math.max(connections, totalBytes / small);
    const whole = { ...http(get, small), connections, downloads };
    results.push(await compare(`download-http-${connections}`, "<= 1.3", product, floor, whole));
    const ranges = {
      ...http({ ...get, rangeBytes }, small),
      connections,
      downloads: totalBytes / 2 / rangeBytes,
    };
    results.push(await compare(`download-range-${connections}`, "<= 1.3", product, floor, ranges));
  }
  const heads = {
    ...http({ method: "HEAD", path }, small),
    connections: 4,
    downloads: options.quick ? 2_000 : 10_000,
  };
  results.push(await compare("download-head", "", product, floor, heads));
  const message = toBinary(
    DownloadFirmwareRequestSchema,
    create(DownloadFirmwareRequestSchema, { updateId: offer.updateId }),
  );
  const streams = {
    door: "grpc" as const,
    message: Buffer.from(message).toString("base64"),
    token: deviceTokenOf(0),
    sizeBytes: small,
    connections: 4,
    downloads: totalBytes / small,
  };
  results.push(await compare("download-grpc-4", "<= 1", product, floor, streams));
  const peakAfterSmall = await peakOf(product, offer, small, Math.round(large / small));
  const peakAfterLarge = await peakOfLarge(large);
  results.push({
    bench: "download-memory",
    value: peakAfterLarge / mebibyte,
    unit: "MiB above idle",
    floor: peakAfterSmall / mebibyte,
    target: "about 1",
    note: `peak while serving ${large / mebibyte} MiB against ${small / mebibyte} MiB`,
  });
  return results;
}

type Asked = NonNullable<DownloadWork["request"]>;

/** Downloads by HTTP of the first device. */
function http(request: Asked, sizeBytes: number) {
  return { door: "http" as const, request, token: deviceTokenOf(0), sizeBytes };
}

const downloadSettings = {
  DEVICE_OTA_RATE_LIMIT_DOWNLOAD: "100000000/minute",
  DEVICE_OTA_MAX_DOWNLOADS_PER_DEVICE: "64",
};

/** The service and its floor with the same work, in turn, so that a drift of the machine's speed meets both alike. */
async function compare(
  bench: string,
  target: string,
  product: MeasuredProcess<ProductReady>,
  floor: MeasuredProcess<FloorReady>,
  work: Omit<DownloadWork, "address">,
): Promise<BenchResult> {
  const pairs: { readonly value: Served; readonly floor: Served }[] = [];
  // The first pair is for compiled code, and for digests that are known then.
  for (let round = -1; round < rounds; round++) {
    const early = round % 2 === 0 ? await served(product, work) : undefined;
    const bare = await served(floor, work);
    const pair = { value: early ?? (await served(product, work)), floor: bare };
    if (round >= 0) pairs.push(pair);
  }
  const sorted = pairs.toSorted((a, b) => a.value.cost / a.floor.cost - b.value.cost / b.floor.cost);
  const [middle] = sorted.slice(Math.floor(rounds / 2));
  if (middle === undefined) throw new Error("nothing was measured");
  const speeds = [middle.value, middle.floor].map(({ megabytesPerSecond }) => megabytesPerSecond.toFixed(0));
  const { connections, request } = work;
  const perCall = request?.method === "HEAD";
  return {
    bench,
    value: middle.value.cost,
    unit: perCall ? "ms CPU a call" : "ms CPU a MB",
    floor: middle.floor.cost,
    target,
    note: `${connections} connections${perCall ? "" : `; MB/s ${speeds.join(" against ")}`}`,
  };
}

/** What some downloads cost their server: milliseconds of CPU for each MB, or for each call if none had a content. */
interface Served {
  readonly cost: number;
  readonly megabytesPerSecond: number;
}

async function served(
  server: MeasuredProcess<ProductReady> | MeasuredProcess<FloorReady>,
  work: Omit<DownloadWork, "address">,
): Promise<Served> {
  const { grpcAddress, httpUrl } = server.ready;
  const address = work.door === "grpc" ? grpcAddress : new URL(httpUrl).host;
  let bytes = 0;
  let seconds = 0;
  const micros = await server.cpuDuring(async () => {
    ({ bytes, seconds } = await readDownloads({ ...work, address }));
  });
  const isHead = work.request?.method === "HEAD";
  const asked = work.request?.rangeBytes ?? work.sizeBytes;
  const expected = isHead ? 0 : work.downloads * asked;
  if (bytes < expected) throw new Error(`received ${bytes} of ${expected} bytes`);
  return {
    cost: micros / 1_000 / (isHead ? work.downloads : bytes / 1e6),
    megabytesPerSecond: bytes / 1e6 / seconds,
  };
}

/** Peak memory above idle, never less than 1 MiB (which is noise), while a content is downloaded that many times over each door. */
async function peakOf(
  product: MeasuredProcess<ProductReady>,
  offer: Offer,
  sizeBytes: number,
  times: number,
): Promise<number> {
  const { rssBytes } = await product.usage();
  for (let round = 0; round < times; round++) {
    await overGrpc(product.ready.grpcAddress, offer.updateId, sizeBytes);
    await overHttp(product.ready.httpUrl + offer.downloadPath, sizeBytes);
  }
  return Math.max(mebibyte, (await product.usage()).peakRssBytes - rssBytes);
}

/** Peak memory of a fresh service that serves one large file: as many bytes as the other served of the small one. */
async function peakOfLarge(sizeBytes: number): Promise<number> {
  await using product = await startProduct(downloadSettings);
  await seedFleet(product.ready.databaseUrl, 1, "large");
  const offer = await offerOf(product.ready, 0, "large", sizeBytes);
  return await peakOf(product, offer, sizeBytes, 1);
}

/** Releases a firmware of random bytes, deploys it to everybody, and lets the device fetch its offer. */
async function offerOf(
  server: ProductReady,
  device: number,
  type: string,
  sizeBytes: number,
): Promise<Offer> {
  using admin = new RpcClient({ address: server.grpcAddress, token: server.adminToken });
  const bytes = randomBytes(sizeBytes);
  const firmware = await releaseFirmware(admin, {
    product: `download-${type}`,
    version: "2.0.0",
    deviceTypes: [type],
    bytes,
  });
  await admin.unary(FirmwareService.method.deployFirmware, { id: firmware.id, ring: "production" });
  using client = new RpcClient({ address: server.grpcAddress, token: deviceTokenOf(device) });
  const { offer, message } = await client.unary(UpdateService.method.checkForUpdate, {
    firmwareVersion: "1.0.0",
    bootId: "boot",
    batteryPercent: 100,
    storageFreeBytes: 10n ** 12n,
  });
  if (offer === undefined) throw new Error(`no offer: ${message}`);
  return offer;
}

async function chunkBytesOf(address: string, offer: Offer): Promise<number> {
  using client = new RpcClient({ address, token: deviceTokenOf(0) });
  for await (const { message } of client.serverStream(UpdateService.method.downloadFirmware, {
    updateId: offer.updateId,
  })) {
    if (message.case === "chunk") return message.value.data.length;
  }
  throw new Error("the download had no chunk");
}

async function overGrpc(address: string, updateId: string, sizeBytes: number): Promise<number> {
  const client: Client = connect(address);
  const request = toBinary(
    DownloadFirmwareRequestSchema,
    create(DownloadFirmwareRequestSchema, { updateId }),
  );
  const call = client.makeServerStreamRequest<Buffer, Buffer>(
    "/ota.v1.UpdateService/DownloadFirmware",
    asIs,
    asIs,
    Buffer.from(request),
    bearer(deviceTokenOf(0)),
  );
  const started = performance.now();
  let received = 0;
  for await (const bytes of call) {
    const { message } = fromBinary(DownloadFirmwareResponseSchema, bytes as Buffer);
    if (message.case === "chunk") received += message.value.data.length;
  }
  const seconds = (performance.now() - started) / 1000;
  client.close();
  if (received !== sizeBytes) throw new Error(`received ${received} of ${sizeBytes} bytes`);
  return sizeBytes / 1e6 / seconds;
}

async function overHttp(url: string, sizeBytes: number): Promise<number> {
  const started = performance.now();
  const response = await fetch(url, { headers: { authorization: `Bearer ${deviceTokenOf(0)}` } });
  let received = 0;
  for await (const bytes of response.body ?? []) received += (bytes as Uint8Array).length;
  const seconds = (performance.now() - started) / 1000;
  if (received !== sizeBytes)
    throw new Error(`received ${received} of ${sizeBytes} bytes (${response.status})`);
  return sizeBytes / 1e6 / seconds;
}

/** Where the local object store keeps an object. */
function storedFile(folder: string, sha256: string): string {
  return join(folder, "sha256", sha256.slice(0, 2), sha256);
}
