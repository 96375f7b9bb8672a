import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { crc32c } from "@node-rs/crc32";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DownloadFirmwareResponseSchema, UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { serverStream } from "../../src/api/pipeline/endpoint.ts";
import { FirmwareDownloads } from "../../src/firmware/firmware-downloads.ts";
import { StoredContents } from "../../src/firmware/stored-contents.ts";
import { systemClock } from "../../src/infra/clock.ts";
import { LocalObjectStore } from "../../src/infra/objects/local-object-store.ts";
import { ChunkAnswer, chunksInPlace } from "../../src/rollout/offer/download-messages.ts";
import { eventually } from "../support/eventually.ts";
import { codecs, type Doors, deviceId, localhostTls, openDoors } from "./doors.ts";

const certificate = await readFile(new URL("./fixtures/localhost-certificate.pem", import.meta.url));
const download = UpdateService.method.downloadFirmware;
const [path, serialize] = codecs(download);
const content = randomBytes(16 * 1024 * 1024 + 99);
const sha256 = createHash("sha256").update(content).digest("hex");

let folder: string;
let store: LocalObjectStore;
let doors: Doors;
let memories: Set<ArrayBufferLike>;
let returned: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "grpc-in-place-"));
  store = new LocalObjectStore(folder, systemClock);
  await store.put(Readable.from([content]), { maxBytes: content.length });
  memories = new Set();
  returned = 0;
});
afterEach(async () => {
  await doors[Symbol.asyncDispose]();
  await store.close();
  await rm(folder, { recursive: true });
});

/** A door whose downloads spoil their memory as soon as they are told that it is theirs again. */
async function open(tls: boolean, stallMs = 60_000): Promise<void> {
  const downloads = new FirmwareDownloads(new StoredContents(store, systemClock));
  const inPlace = {
    ...chunksInPlace,
    sent: (answer: object) => {
      if (answer instanceof ChunkAnswer) answer.message.value.data.fill(0xdb);
      chunksInPlace.sent(answer);
    },
  };
  doors = await openDoors({
    services: [UpdateService],
    endpoints: [
      serverStream(
        download,
        { access: { device: true }, rate: "download", inPlace },
        async function* (_request, { signal }) {
          try {
            const { pieces } = await downloads.open(sha256, { signal });
            yield { message: { case: "header" as const, value: { sha256 } } };
            let at = 0;
            for await (const piece of pieces) {
              const answer = new ChunkAnswer(piece, at);
              memories.add(answer.message.value.data.buffer);
              at += answer.length;
              yield answer;
            }
          } finally {
            returned++;
          }
        },
      ),
    ],
    stallMs,
    ...(tls ? { tls: await localhostTls() } : {}),
  });
}

/** A download by a bare HTTP/2 client, which decides itself when it reads. */
function start(tls: boolean) {
  const session = tls
    ? connect(`https://${doors.grpcAddress}`, { ca: certificate, servername: "localhost" })
    : connect(`http://${doors.grpcAddress}`);
  const call = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: "Bearer device",
  });
  const request = serialize({ updateId: deviceId });
  const frame = Buffer.concat([Buffer.alloc(5), request]);
  frame.writeUInt32BE(request.length, 1);
  call.end(frame);
  return { session, call };
}

/** Takes the messages out of a finished stream's bytes, checks each chunk, and gives the content's digest. */
function digestOf(bytes: Buffer): string {
  const hash = createHash("sha256");
  let offset = 0n;
  for (let at = 0; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    const { message } = fromBinary(DownloadFirmwareResponseSchema, bytes.subarray(at + 5, end));
    at = end;
    if (message.case !== "chunk") continue;
    expect(message.value.offset).toBe(offset);
    expect(crc32c(message.value.data)).toBe(message.value.crc32c);
    hash.update(message.value.data);
    offset += BigInt(message.value.data.length);
  }
  return hash.digest("hex");
}

describe.each([
  ["plaintext", false],
  ["TLS", true],
])("answers sent from where they lie, over %s", (_name, tls) => {
  it("arrive whole though their memory is used again, with slow readers and fast ones", async () => {
    await open(tls);
    const read = async (slow: boolean): Promise<string> => {
      const { session, call } = start(tls);
      try {
        const trailers = once(call, "trailers");
        const received: Buffer[] = [];
        for await (const bytes of call) {
          received.push(bytes as Buffer);
          // While it waits, the windows fill up and the service holds whole chunks back.
          if (slow) for (let turn = 0; turn < 5; turn++) await nextTurn();
        }
        expect((await trailers)[0]).toMatchObject({ "grpc-status": "0" });
        return digestOf(Buffer.concat(received));
      } finally {
        session.destroy();
      }
    };
    const digests = await Promise.all([read(true), read(false), read(true)]);
    expect(digests).toEqual([sha256, sha256, sha256]);
    // Three downloads of 65 pieces each; at once there are the unsent MiB and three pieces of each on the way.
    expect(memories.size).toBeLessThan(3 * 10);
    await eventually(() => expect(doors.grpc.openStreams).toBe(0));
  });

  it("stop when the client goes away, and leave the next download whole", async () => {
    await open(tls);
    const { session, call } = start(tls);
    call.on("error", () => undefined);
    await once(call, "data");
    session.destroy();
    await eventually(() => expect(returned).toBe(1));
    const next = start(tls);
    try {
      const received: Buffer[] = [];
      for await (const bytes of next.call) received.push(bytes as Buffer);
      expect(digestOf(Buffer.concat(received))).toBe(sha256);
    } finally {
      next.session.destroy();
    }
  });

  it("are cut when their reader leaves them unread", async () => {
    await open(tls, 200);
    const { session, call } = start(tls);
    try {
      call.on("error", () => undefined);
      await once(call, "response");
      await eventually(() => expect(returned).toBe(1));
      await eventually(() => expect(doors.grpc.openStreams).toBe(0));
    } finally {
      session.destroy();
    }
  });
});
