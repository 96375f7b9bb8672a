import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventually } from "../../test/support/eventually.ts";
import { systemClock } from "../infra/clock.ts";
import { LocalObjectStore } from "../infra/objects/local-object-store.ts";
import type { Firmware } from "./firmware.ts";
import {
  FirmwareUploads,
  type UploadCatalog,
  type UploadChunk,
  type UploadProgress,
} from "./firmware-uploads.ts";
import { StoredContents } from "./stored-contents.ts";

const id = "0198c0de-0000-7000-8000-000000000001";
const content = randomBytes(1000);
const caller = { actor: "operator:test", signal: new AbortController().signal };

let folder: string;
let store: LocalObjectStore;
let catalog: OneFirmware;
let uploads: FirmwareUploads;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "firmware-uploads-"));
  store = new LocalObjectStore(folder, systemClock);
  catalog = new OneFirmware(content);
  uploads = new FirmwareUploads({ catalog, store, contents: new StoredContents(store, systemClock) });
});

afterEach(async () => {
  await uploads.close();
  await store.close();
  await rm(folder, { recursive: true });
});

const part = (from: number, to: number, finish = false): UploadChunk => {
  const data = content.subarray(from, to);
  return { offset: from, data, crc32c: crc32c(data), finish };
};
const send = (...chunks: UploadChunk[]): Promise<UploadProgress> =>
  uploads.receive(id, toStream(chunks), caller);
const append = (chunk: UploadChunk): Promise<UploadProgress> => uploads.append(id, chunk, caller);
const committed = async (): Promise<number> => (await uploads.progress(id, caller.signal)).committedBytes;
const stored = async (): Promise<Buffer> => buffer(await store.read(catalog.firmware.sha256));
const staged = (): Promise<string[]> => readdir(join(folder, "staging"));

/** The same place, as after the service was killed and started again. */
async function restart(): Promise<void> {
  await store.close();
  store = new LocalObjectStore(folder, systemClock);
  uploads = new FirmwareUploads({ catalog, store, contents: new StoredContents(store, systemClock) });
}

describe("an upload in one stream", () => {
  it("is verified, stored and recorded", async () => {
    const progress = await send(part(0, 400), part(400, 1000, true));
    expect(progress).toMatchObject({ committedBytes: 1000, firmware: { state: "UPLOADED" } });
    expect(await stored()).toEqual(content);
    expect(await staged()).toEqual([]);
    expect(catalog.storedBy).toBe("operator:test");
  });

  it("may finish with an empty message", async () => {
    expect(await send(part(0, 1000), part(1000, 1000, true))).toMatchObject({
      firmware: { state: "UPLOADED" },
    });
  });

  it("that ends without finishing goes on where it ended", async () => {
    expect(await send(part(0, 300))).toEqual({ committedBytes: 300, firmware: undefined });
    expect(await committed()).toBe(300);
    await restart();
    expect(await committed()).toBe(300);
    await send(part(300, 1000, true));
    expect(await stored()).toEqual(content);
  });

  it("that breaks keeps what came", async () => {
    async function* breaking(): AsyncGenerator<UploadChunk> {
      yield part(0, 300);
      throw new Error("cut");
    }
    await expect(uploads.receive(id, breaking(), caller)).rejects.toThrow("cut");
    expect(await committed()).toBe(300);
  });

  it("accepts again what is committed, and nothing half", async () => {
    await send(part(0, 300));
    await send(part(0, 300), part(100, 200), part(300, 500));
    expect(await committed()).toBe(500);
    await expect(send(part(400, 600))).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "UPLOAD_OFFSET_MISMATCH",
      metadata: { offset: "400", committed_bytes: "500" },
    });
  });

  it("refuses a gap and says where it stands", async () => {
    await expect(send(part(0, 300), part(301, 1000, true))).rejects.toMatchObject({
      reason: "UPLOAD_OFFSET_MISMATCH",
      metadata: { offset: "301", committed_bytes: "300" },
    });
    expect(await committed()).toBe(300);
  });

  it("refuses an end that comes too early, and can go on", async () => {
    await expect(send(part(0, 999, true))).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "UPLOAD_INCOMPLETE",
      metadata: { committed_bytes: "999", size_bytes: "1000" },
    });
    await send(part(999, 1000, true));
    expect(await stored()).toEqual(content);
  });

  it("discards everything when more comes than was declared", async () => {
    const tooMuch = { offset: 900, data: new Uint8Array(101), finish: true };
    await expect(send(part(0, 900), tooMuch)).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "SIZE_MISMATCH",
    });
    expect(await staged()).toEqual([]);
    expect(await committed()).toBe(0);
    expect(catalog.firmware.state).toBe("DRAFT");
  });

  it("discards everything when the content is another", async () => {
    const other = { offset: 999, data: Uint8Array.of((content[999] ?? 0) ^ 1), finish: true };
    await expect(send(part(0, 999), other)).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "DIGEST_MISMATCH",
    });
    expect(await staged()).toEqual([]);
    expect(await committed()).toBe(0);
    await send(part(0, 1000, true));
    expect(await stored()).toEqual(content);
  });

  it("refuses a chunk with a wrong CRC-32C, and only that", async () => {
    const wrong = { ...part(300, 600), crc32c: 1 };
    await expect(send(part(0, 300), wrong)).rejects.toMatchObject({
      code: "invalid_argument",
      reason: "DIGEST_MISMATCH",
      metadata: { offset: "300" },
    });
    expect(await committed()).toBe(300);
  });

  it("gives way to a newer writer", async () => {
    const { promise: newerIsDone, resolve } = Promise.withResolvers<void>();
    const { promise: olderStalls, resolve: stall } = Promise.withResolvers<void>();
    async function* stalling(): AsyncGenerator<UploadChunk> {
      yield part(0, 300);
      stall();
      await newerIsDone;
      yield part(300, 600);
    }
    const older = uploads.receive(id, stalling(), caller);
    await olderStalls;
    await send(part(0, 300), part(300, 400));
    resolve();
    await expect(older).rejects.toMatchObject({ code: "aborted", reason: "STREAM_SUPERSEDED" });
    await send(part(400, 1000, true));
    expect(await stored()).toEqual(content);
  });

  it("stops with the caller's signal and keeps what came", async () => {
    const controller = new AbortController();
    async function* hanging(): AsyncGenerator<UploadChunk> {
      yield part(0, 300);
      controller.abort(new Error("gone"));
      await new Promise(() => undefined);
    }
    await expect(uploads.receive(id, hanging(), { actor: "a", signal: controller.signal })).rejects.toThrow(
      "gone",
    );
    expect(await committed()).toBe(300);
  });

  it("that sends nothing for a minute is ended and can go on", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      async function* silent(): AsyncGenerator<UploadChunk> {
        yield part(0, 300);
        vi.advanceTimersByTime(60_000);
        await new Promise(() => undefined);
      }
      await expect(uploads.receive(id, silent(), caller)).rejects.toMatchObject({
        reason: "DEADLINE_EXCEEDED",
      });
      expect(await committed()).toBe(300);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("an upload in single chunks", () => {
  it("is durable chunk by chunk, and takes a repeated last chunk", async () => {
    expect(await append(part(0, 500))).toEqual({ committedBytes: 500, firmware: undefined });
    await restart();
    expect(await append(part(0, 500))).toEqual({ committedBytes: 500, firmware: undefined });
    expect(await append(part(500, 1000, true))).toMatchObject({ committedBytes: 1000 });
    expect(await append(part(500, 1000, true))).toMatchObject({
      committedBytes: 1000,
      firmware: { state: "UPLOADED" },
    });
    expect(await committed()).toBe(1000);
  });

  it("takes chunks that are sent twice at once", async () => {
    const results = await Promise.allSettled([
      append(part(0, 500)),
      append(part(0, 500)),
      append(part(0, 500)),
    ]);
    expect(results.filter(({ status }) => status === "fulfilled").length).toBeGreaterThan(0);
    await append(part(500, 1000, true));
    expect(await stored()).toEqual(content);
  });

  it("records content whose recording failed when it was stored, without a second upload", async () => {
    catalog.failure = new Error("the database is away");
    await expect(append(part(0, 1000, true))).rejects.toThrow("the database is away");
    catalog.failure = undefined;
    expect(await append(part(1000, 1000, true))).toMatchObject({ firmware: { state: "UPLOADED" } });
  });

  it("are refused when too many uploads run, and idle ones give way", async () => {
    const ids = Array.from({ length: 40 }, (_, index) => `upload-${index}`);
    const many = new FirmwareUploads({
      catalog: {
        getActive: async (other) => ({ ...catalog.firmware, id: other }),
        contentStored: () => catalog.getActive(),
      },
      store,
      contents: new StoredContents(store, systemClock),
    });
    const { promise: stop, resolve } = Promise.withResolvers<void>();
    async function* holding(): AsyncGenerator<UploadChunk> {
      yield part(0, 1);
      await stop;
    }
    for (const other of ids) await many.append(other, part(0, 1), caller);
    const outcomes = Promise.allSettled(ids.map((other) => many.receive(other, holding(), caller)));
    await eventually(() =>
      expect(many.append("one-more", part(0, 1), caller)).rejects.toMatchObject({
        code: "resource_exhausted",
        reason: "TOO_MANY_STREAMS",
      }),
    );
    resolve();
    expect((await outcomes).filter(({ status }) => status === "fulfilled")).toHaveLength(32);
    await many.append("one-more", part(0, 1), caller);
    await many.close();
  });

  it("blame the store for its own failures, and go on when it is back", async () => {
    await append(part(0, 300));
    await restart();
    await rename(folder, `${folder}-away`);
    await writeFile(folder, "not a folder");
    await expect(append(part(300, 600))).rejects.toMatchObject({
      code: "unavailable",
      reason: "STORAGE_UNAVAILABLE",
    });
    await rm(folder);
    await rename(`${folder}-away`, folder);
    await append(part(300, 1000, true));
    expect(await stored()).toEqual(content);
  });

  it("are refused once the service stops", async () => {
    await uploads.close();
    await expect(append(part(0, 1))).rejects.toMatchObject({ code: "unavailable", reason: "SHUTTING_DOWN" });
  });
});

describe("any upload", () => {
  it("ends with the same bytes, however it is cut, repeated, broken and resumed", async () => {
    const step = fc.record({
      bytes: fc.integer({ min: 0, max: 400 }),
      back: fc.integer({ min: 0, max: 400 }),
      how: fc.constantFrom("stream", "chunk", "broken stream", "gap", "restart" as const),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
        catalog = new OneFirmware(randomBytes(1000));
        const { content: bytes } = catalog;
        await restart();
        const cut = (from: number, to: number, finish = false): UploadChunk => ({
          offset: from,
          data: bytes.subarray(from, to),
          finish,
        });
        for (const { bytes: count, back, how } of steps) {
          const at = await committed();
          const end = Math.min(at + count, 1000);
          // Sends a part again that is committed already, then the next one.
          const chunks = [cut(Math.max(at - back, 0), at), cut(at, end)];
          if (how === "restart") await restart();
          else if (how === "gap") await append(cut(end + 1, 1001)).catch(() => undefined);
          else if (how === "chunk") for (const chunk of chunks) await append(chunk);
          else if (how === "broken stream") await send(...chunks, cut(1001, 1001)).catch(() => undefined);
          else await send(...chunks);
          expect(await committed()).toBe(how === "restart" || how === "gap" ? at : end);
        }
        await send(cut(await committed(), 1000, true));
        expect(await stored()).toEqual(bytes);
        expect(await staged()).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });
});

async function* toStream(chunks: readonly UploadChunk[]): AsyncGenerator<UploadChunk> {
  yield* chunks;
}

/** A catalogue with one firmware in it. */
class OneFirmware implements UploadCatalog {
  readonly content: Buffer;
  firmware: Firmware;
  failure: Error | undefined;
  storedBy: string | undefined;

  constructor(bytes: Buffer) {
    this.content = bytes;
    this.firmware = {
      id,
      state: "DRAFT",
      product: "gateway",
      version: "1.0.0",
      reportedVersions: [],
      deviceTypes: ["gateway"],
      hardwareModels: [],
      minBatteryPercent: 0,
      minFreeStorageBytes: 0,
      minCurrentVersion: "",
      kind: "FIRMWARE",
      component: "",
      mandatoryStep: false,
      releaseNotes: "",
      metadata: {},
      sha256: createHash("sha256").update(bytes).digest("hex"),
      sizeBytes: bytes.length,
      securityCounter: 0,
      securityFix: false,
      manifest: undefined,
      attachments: [],
      signatures: [],
      expiresAt: undefined,
      createdAt: new Date(0),
      updatedAt: new Date(0),
      releasedAt: undefined,
      deletedAt: undefined,
      damagedAt: undefined,
    };
  }

  async getActive(): Promise<Firmware> {
    return this.firmware;
  }

  async contentStored(_id: string, actor: string): Promise<Firmware> {
    if (this.failure !== undefined) throw this.failure;
    this.storedBy = actor;
    this.firmware = { ...this.firmware, state: "UPLOADED" };
    return this.firmware;
  }
}
