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
import { deviceTokenOf, seedFleet } from "./load/fleet.ts";
import { asIs, bearer, connect } from "./load/raw-client.ts";
import { type ProductReady, startFloor, startProduct } from "./processes.ts";

const mebibyte = 1024 * 1024;

/** How often each download is repeated, in pairs with its floor; the pair with the median ratio counts. */
const rounds = 9;

/**
 * MB/s of a download over gRPC and over HTTP, against a bare grpc-js stream of the same chunks and a bare file pipe of
 * node:http, and whether the service's memory grows with the file's size.
 */
export async function download(options: { quick: boolean }): Promise<BenchResult[]> {
  const sizes = options.quick ? [8 * mebibyte, 32 * mebibyte] : [64 * mebibyte, 256 * mebibyte];
  const [small = 0, large = 0] = sizes;
  await using product = await startProduct({ DEVICE_OTA_RATE_LIMIT_DOWNLOAD: "100000/minute" });
  await seedFleet(product.ready.databaseUrl, 1, "small");
  const smallOffer = await offerOf(product.ready, 0, "small", small);
  const chunkBytes = await chunkBytesOf(product.ready.grpcAddress, smallOffer);
  const file = storedFile(product.ready.storageFolder, smallOffer.sha256);
  await using floor = await startFloor({ file, chunkBytes });

  const { updateId, downloadPath } = smallOffer;
  const grpc = await inPairs(
    () => overGrpc(product.ready.grpcAddress, updateId, small),
    () => overGrpc(floor.ready.grpcAddress, updateId, small),
  );
  const http = await inPairs(
    () => overHttp(product.ready.httpUrl + downloadPath, small),
    () => overHttp(floor.ready.httpUrl, small),
  );
  const peakAfterSmall = await peakOf(product, smallOffer, small, Math.round(large / small));
  const peakAfterLarge = await peakOfLarge(large);
  return [
    {
      bench: "download-grpc",
      value: grpc.value,
      unit: "MB/s",
      floor: grpc.floor,
      target: ">= 0.85",
      note: `${small / mebibyte} MiB in chunks of ${chunkBytes / 1024} KiB, digest and CRC-32C included`,
    },
    {
      bench: "download-http",
      value: http.value,
      unit: "MB/s",
      floor: http.floor,
      target: ">= 0.85",
      note: `${small / mebibyte} MiB, against a bare node:http file pipe`,
    },
    {
      bench: "download-memory",
      value: peakAfterLarge / mebibyte,
      unit: "MiB above idle",
      floor: peakAfterSmall / mebibyte,
      target: "about 1",
      note: `peak while serving ${large / mebibyte} MiB against ${small / mebibyte} MiB`,
    },
  ];
}

/** A figure and its floor, measured right after each other. */
interface Pair {
  readonly value: number;
  readonly floor: number;
}

/**
 * Measures both in turn, first one first and then the other, so that a drift of the machine's speed meets both alike,
 * and returns the pair with the median ratio. Both run twice before that counts, for compiled code and open connections.
 */
async function inPairs(product: () => Promise<number>, floor: () => Promise<number>): Promise<Pair> {
  const pairs: Pair[] = [];
  for (let round = -2; round < rounds; round++) {
    const early = round % 2 === 0 ? await product() : undefined;
    const bare = await floor();
    const pair = { value: early ?? (await product()), floor: bare };
    if (round >= 0) pairs.push(pair);
  }
  const sorted = pairs.toSorted((a, b) => a.value / a.floor - b.value / b.floor);
  return sorted[Math.floor(rounds / 2)] ?? { value: Number.NaN, floor: Number.NaN };
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
  await using product = await startProduct({ DEVICE_OTA_RATE_LIMIT_DOWNLOAD: "100000/minute" });
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
