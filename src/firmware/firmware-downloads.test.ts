import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../test/support/fake-clock.ts";
import { systemClock } from "../infra/clock.ts";
import { LocalObjectStore } from "../infra/objects/local-object-store.ts";
import { StreamReader } from "../infra/objects/object-reader.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import type { Piece } from "./download-piece.ts";
import { type DownloadOptions, downloadChunkBytes, FirmwareDownloads } from "./firmware-downloads.ts";
import { type ContentStore, StoredContents } from "./stored-contents.ts";

const content = randomBytes(3 * downloadChunkBytes + 77);
const sizeBytes = content.length;
const sha256 = createHash("sha256").update(content).digest("hex");
const { signal } = new AbortController();

let folder: string;
let store: LocalObjectStore;
let downloads: FirmwareDownloads;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "firmware-downloads-"));
  store = new LocalObjectStore(folder, systemClock);
  await store.put(Readable.from([content]), { maxBytes: sizeBytes });
  downloads = new FirmwareDownloads(new StoredContents(store, systemClock));
});

afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

const pathOf = (): string => join(folder, "sha256", sha256.slice(0, 2), sha256);
const open = (options: Partial<DownloadOptions> = {}) =>
  downloads.open(sha256, { sizeBytes, signal, ...options });
async function receive(pieces: AsyncIterable<Piece>, received: Buffer[] = []): Promise<Buffer> {
  for await (const { data } of pieces) received.push(data);
  return Buffer.concat(received);
}

describe("FirmwareDownloads", () => {
  it("gives the whole content in full pieces", async () => {
    const download = await open();
    expect(download).toMatchObject({ sizeBytes, offset: 0, length: sizeBytes });
    const received: Buffer[] = [];
    expect(await receive(download.pieces, received)).toEqual(content);
    expect(received.map(({ length }) => length)).toEqual([
      downloadChunkBytes,
      downloadChunkBytes,
      downloadChunkBytes,
      77,
    ]);
  });

  it.each([
    [0, 10],
    [5, 0],
    [100, 300_000],
    [sizeBytes - 1, 0],
    [sizeBytes - 1, 50],
    [sizeBytes, 0],
    [1, sizeBytes],
  ])("gives the part from %i, at most %i bytes", async (offset, limit) => {
    const download = await open({ offset, limit });
    const expected = content.subarray(offset, limit === 0 ? sizeBytes : offset + limit);
    expect(download).toMatchObject({ offset, length: expected.length });
    expect(await receive(download.pieces)).toEqual(expected);
  });

  it.each([sizeBytes + 1, 2 ** 60, -1, Number.NaN])("refuses the offset %d", async (offset) => {
    await expect(open({ offset })).rejects.toMatchObject({
      code: "out_of_range",
      reason: "OFFSET_OUT_OF_RANGE",
    });
  });

  it("withholds the last piece of content that was changed in the store", async () => {
    const changed = Buffer.from(content);
    changed[10] = (changed[10] ?? 0) ^ 1;
    await writeFile(pathOf(), changed);
    const received: Buffer[] = [];
    await expect(receive((await open()).pieces, received)).rejects.toMatchObject({
      code: "data_loss",
      reason: "STORED_OBJECT_CORRUPT",
    });
    expect(received).toHaveLength(3);
  });

  it("withholds everything of changed content that fits in one piece", async () => {
    const small = Buffer.from("small");
    const { sha256: address } = await store.put(Readable.from([small]), { maxBytes: 5 });
    await writeFile(join(folder, "sha256", address.slice(0, 2), address), "smell");
    const received: Buffer[] = [];
    const download = await downloads.open(address, { sizeBytes: 5, signal });
    await expect(receive(download.pieces, received)).rejects.toMatchObject({
      reason: "STORED_OBJECT_CORRUPT",
    });
    expect(received).toEqual([]);
  });

  it("calls content of another size, or none, corrupt", async () => {
    await truncate(pathOf(), 5);
    await expect(open()).rejects.toMatchObject({ code: "data_loss", reason: "STORED_OBJECT_CORRUPT" });
    await rm(pathOf());
    await expect(open()).rejects.toMatchObject({ code: "data_loss", reason: "STORED_OBJECT_CORRUPT" });
  });

  it("calls content corrupt that vanishes between opening and reading", async () => {
    const { pieces } = await open();
    await rm(pathOf());
    await expect(receive(pieces)).rejects.toMatchObject({ reason: "STORED_OBJECT_CORRUPT" });
  });

  describe("from a store that knows etags", () => {
    let clock: FakeClock;
    let etag: string;
    let etags: FirmwareDownloads;
    const whole = async (received: Buffer[] = []): Promise<Buffer> =>
      receive((await etags.open(sha256, { sizeBytes, signal })).pieces, received);

    beforeEach(() => {
      etag = "1";
      clock = new FakeClock();
      const withRevisions: ContentStore = {
        stat: async (address) => {
          const stored = await store.stat(address);
          return stored === undefined ? undefined : { ...stored, etag };
        },
        openReader: (...args) => store.openReader(...args),
      };
      etags = new FirmwareDownloads(new StoredContents(withRevisions, clock));
    });

    const damage = async (): Promise<void> => {
      const changed = Buffer.from(content);
      changed[10] = (changed[10] ?? 0) ^ 1;
      await writeFile(pathOf(), changed);
    };

    it("computes the digest again when the etag is another", async () => {
      expect(await whole()).toEqual(content);
      await damage();
      etag = "2";
      const received: Buffer[] = [];
      await expect(whole(received)).rejects.toMatchObject({ reason: "STORED_OBJECT_CORRUPT" });
      expect(received).toHaveLength(3);
    });

    it("computes it once for one etag", async () => {
      await whole();
      await damage();
      expect(await whole()).not.toEqual(content);
    });

    it("computes it again after ten minutes", async () => {
      await whole();
      await damage();
      clock.advance(10 * 60_000 - 1);
      expect(await whole()).not.toEqual(content);
      clock.advance(1);
      await expect(whole()).rejects.toMatchObject({ reason: "STORED_OBJECT_CORRUPT" });
    });

    it("does not trust what was never right", async () => {
      await damage();
      await expect(whole()).rejects.toMatchObject({ reason: "STORED_OBJECT_CORRUPT" });
      await expect(whole()).rejects.toMatchObject({ reason: "STORED_OBJECT_CORRUPT" });
    });

    it("withholds the last piece if the etag changes while it reads what it trusts", async () => {
      await whole();
      const received: Buffer[] = [];
      const { pieces } = await etags.open(sha256, { sizeBytes, signal });
      const reading = (async () => {
        for await (const { data } of pieces) {
          received.push(data);
          etag = "2";
        }
      })();
      await expect(reading).rejects.toMatchObject({ code: "unavailable", reason: "STORAGE_UNAVAILABLE" });
      expect(received).toHaveLength(3);
      expect(await whole()).toEqual(content);
    });
  });

  it("stops with the signal's reason", async () => {
    const controller = new AbortController();
    const { pieces } = await open({ signal: controller.signal });
    const gone = new Error("the client went away");
    await expect(async () => {
      for await (const _ of pieces) controller.abort(gone);
    }).rejects.toBe(gone);
  });

  it("closes the store's reader when its own reader stops early", async () => {
    let closed = 0;
    const watched = {
      stat: (address: string) => store.stat(address),
      openReader: async (...args: Parameters<ObjectStore["openReader"]>) => {
        const reader = await store.openReader(...args);
        const close = async () => {
          await reader.close();
          closed++;
        };
        return { fill: (memory: Buffer) => reader.fill(memory), close };
      },
    };
    const { pieces } = await new FirmwareDownloads(new StoredContents(watched, systemClock)).open(sha256, {
      sizeBytes,
      signal,
    });
    for await (const _ of pieces) break;
    expect(closed).toBe(1);
  });

  it("gathers the small reads of a slow store into full pieces", async () => {
    const dripping = {
      stat: (address: string) => store.stat(address),
      openReader: async () =>
        new StreamReader(
          Readable.from(
            (function* () {
              for (let at = 0; at < sizeBytes; at += 10_000) yield content.subarray(at, at + 10_000);
            })(),
          ),
        ),
    };
    const received: Buffer[] = [];
    const { pieces } = await new FirmwareDownloads(new StoredContents(dripping, systemClock)).open(sha256, {
      sizeBytes,
      signal,
    });
    expect(await receive(pieces, received)).toEqual(content);
    expect(received.map(({ length }) => length).slice(0, 3)).toEqual([
      downloadChunkBytes,
      downloadChunkBytes,
      downloadChunkBytes,
    ]);
  });

  it("uses the memory of released pieces again, whole and unmixed", async () => {
    const memories = new Set<ArrayBufferLike>();
    for (let round = 0; round < 5; round++) {
      const hash = createHash("sha256");
      for await (const piece of (await open()).pieces) {
        hash.update(piece.data);
        memories.add(piece.data.buffer);
        piece.release();
        expect(() => piece.data).toThrow("after its release");
      }
      expect(hash.digest("hex")).toBe(sha256);
    }
    // The piece that is out, the one held until all are known to be right, and the one that is being read.
    expect(memories.size).toBeLessThanOrEqual(3);
  });
});
