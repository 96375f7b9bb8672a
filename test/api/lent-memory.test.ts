import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { crc32c } from "@node-rs/crc32";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { downloadRoute } from "../../src/api/download/download-route.ts";
import { serverStream } from "../../src/api/pipeline/endpoint.ts";
import type { Piece } from "../../src/firmware/download-piece.ts";
import { FirmwareDownloads } from "../../src/firmware/firmware-downloads.ts";
import { StoredContents } from "../../src/firmware/stored-contents.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { ChunkAnswer, chunksInPlace } from "../../src/rollout/offer/download-messages.ts";
import { eventually } from "../support/eventually.ts";
import { type Doors, deviceId, localhostTls, openDoors } from "./doors.ts";

const certificate = await readFile(new URL("./fixtures/localhost-certificate.pem", import.meta.url));
const content = randomBytes(16 * 1024 * 1024 + 99);
const sha256 = createHash("sha256").update(content).digest("hex");

let folder: string;
let store: LocalObjectStore;
let doors: Doors;
/** The memory of all pieces that were read, and how many of them are out. */
let memories: Set<ArrayBufferLike>;
let lent: number;
/** Downloads that have let go of the store. */
let returned: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lent-memory-"));
  store = new LocalObjectStore(folder, systemClock);
  await store.put(Readable.from([content]), { maxBytes: content.length });
  memories = new Set();
  lent = 0;
  returned = 0;
});
afterEach(async () => {
  await doors[Symbol.asyncDispose]();
  await store.close();
  await rm(folder, { recursive: true });
});

/** Doors whose downloads spoil their memory as soon as it is handed back. */
async function open(tls: boolean): Promise<void> {
  const downloads = new FirmwareDownloads(new StoredContents(store, systemClock));
  const route = downloadRoute(async (_updateId, _identity, signal) => {
    const download = await downloads.open(sha256, { signal });
    return {
      sizeBytes: download.sizeBytes,
      sha256,
      elsewhere: async () => undefined,
      read: (offset, length) => spoiled(download.read(offset, length)),
    };
  });
  const inPlace = {
    ...chunksInPlace,
    sent: (answer: object) => {
      if (answer instanceof ChunkAnswer) answer.message.value.data.fill(0xdb);
      chunksInPlace.sent(answer);
    },
  };
  const method = UpdateService.method.downloadFirmware;
  const endpoint = serverStream(
    method,
    { access: { device: true }, rate: "download", inPlace },
    async function* (_request, { signal }) {
      const { pieces } = await downloads.open(sha256, { signal });
      let at = 0;
      for await (const piece of pieces) {
        memories.add(piece.data.buffer);
        const answer = new ChunkAnswer(piece, at);
        at += answer.length;
        yield answer;
      }
    },
  );
  doors = await openDoors({
    services: [UpdateService],
    endpoints: [endpoint],
    http: { rawRoutes: [route] },
    ...(tls ? { tls: await localhostTls() } : {}),
  });
}

async function* spoiled(pieces: AsyncIterable<Piece>) {
  try {
    for await (const piece of pieces) {
      memories.add(piece.data.buffer);
      lent++;
      const release = () => {
        lent--;
        piece.data.fill(0xdb);
        piece.release();
      };
      yield { data: piece.data, release };
    }
  } finally {
    returned++;
  }
}

/** A download whose reader decides itself when it reads. */
async function start(headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const url = `${doors.httpUrl}/api/v1/updates/${deviceId}/content`;
  const options = { agent: false, headers: { authorization: "Bearer device", ...headers } } as const;
  const call = url.startsWith("https:")
    ? requestHttps(url, { ...options, ca: certificate, servername: "localhost" })
    : requestHttp(url, options);
  call.on("error", () => undefined);
  call.end();
  const [answer] = (await once(call, "response")) as [IncomingMessage];
  return answer;
}

/** The digest of what comes; a slow reader lets the service's turns pass while its socket is full. */
async function digestOf(answer: IncomingMessage, slow = false): Promise<string> {
  const hash = createHash("sha256");
  for await (const bytes of answer) {
    hash.update(bytes as Buffer);
    if (slow) for (let turn = 0; turn < 5; turn++) await nextTurn();
  }
  return hash.digest("hex");
}

describe.each([
  ["plaintext", false],
  ["TLS", true],
])("the memory of downloads by HTTP, over %s", (_name, tls) => {
  it("is used again while slow readers and fast ones get all of it right", async () => {
    await open(tls);
    const answers = await Promise.all([start(), start(), start()]);
    const [slow, fast, other] = answers as [IncomingMessage, IncomingMessage, IncomingMessage];
    const digests = await Promise.all([digestOf(slow, true), digestOf(fast), digestOf(other, true)]);
    expect(digests).toEqual([sha256, sha256, sha256]);
    await eventually(() => expect([lent, returned]).toEqual([0, 3]));
    // Three downloads of 65 pieces each; at once there are four pieces of each: read, held, on its way and just taken.
    expect(memories.size).toBeLessThanOrEqual(3 * 4);
  });

  it("is used again by ranges, one after the other", async () => {
    await open(tls);
    const rangeBytes = 300_000;
    for (let offset = 0; offset < 5 * rangeBytes; offset += rangeBytes) {
      const answer = await start({ range: `bytes=${offset}-${offset + rangeBytes - 1}` });
      const expected = createHash("sha256").update(content.subarray(offset, offset + rangeBytes));
      expect([answer.statusCode, await digestOf(answer)]).toEqual([206, expected.digest("hex")]);
      await eventually(() => expect(lent).toBe(0));
    }
    expect(memories.size).toBeLessThanOrEqual(4);
  });

  it("is not handed back of what a client leaves behind, so that the next one has all of it right", async () => {
    await open(tls);
    const gone = await start();
    gone.on("error", () => undefined);
    await once(gone, "data");
    gone.destroy();
    await eventually(() => expect(returned).toBe(1));
    expect(await digestOf(await start())).toBe(sha256);
  });
});

it("is used again by downloads over Connect, which copies it", async () => {
  await open(false);
  const transport = createConnectTransport({
    baseUrl: doors.httpUrl,
    httpVersion: "1.1",
    readMaxBytes: 1024 * 1024,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", "Bearer device");
        return next(request);
      },
    ],
  });
  const hash = createHash("sha256");
  for await (const { message } of createClient(UpdateService, transport).downloadFirmware({
    updateId: deviceId,
  })) {
    if (message.case !== "chunk") continue;
    expect(crc32c(message.value.data)).toBe(message.value.crc32c);
    hash.update(message.value.data);
  }
  expect(hash.digest("hex")).toBe(sha256);
  expect(memories.size).toBeLessThanOrEqual(4);
});
