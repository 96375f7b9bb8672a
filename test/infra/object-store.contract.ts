import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ListedObject, ObjectInfo, ObjectStore } from "../../src/infra/objects/object-store.ts";
import type { FakeClock } from "../support/fake-clock.ts";

/** A kind of store under the contract, on a place of its own for each test. */
export interface StoreFixture extends AsyncDisposable {
  /** A new instance on the same place, as after a restart of the service. The caller closes it. */
  open(): ObjectStore;
  readonly clock: FakeClock;
  readonly stagingFolder: string;
  /** Largest object that the store sends in one piece. */
  readonly partSizeBytes: number;
}

const KIB = 1024;
const LIMIT = 64 * KIB * KIB;

/** What every {@link ObjectStore} promises, whatever it is made of. */
export function describeObjectStore(name: string, setUp: () => Promise<StoreFixture>): void {
  describe(`${name}`, () => {
    let fixture: StoreFixture;
    let store: ObjectStore;

    beforeEach(async () => {
      fixture = await setUp();
      store = fixture.open();
    });

    afterEach(async () => {
      await store.close();
      await fixture[Symbol.asyncDispose]();
    });

    const staged = (): Promise<string[]> => readdir(fixture.stagingFolder).catch(() => []);
    const sizes = (): [string, number][] => [
      ["nothing", 0],
      ["one byte", 1],
      ["one part", fixture.partSizeBytes],
      ["a part and a byte", fixture.partSizeBytes + 1],
      ["several parts", 3 * fixture.partSizeBytes + 12_345],
    ];

    it("gives back what was put, from empty to several parts", async () => {
      for (const [label, size] of sizes()) {
        const bytes = randomBytes(size);
        const info = infoOf(bytes);
        const stored = await store.put(chunks(bytes), { maxBytes: LIMIT, expected: info });
        const found = await store.stat(info.sha256);
        const same = (await read(store.read(info.sha256))).equals(bytes);
        expect({ label, stored, foundBytes: found?.sizeBytes, same }).toEqual({
          label,
          stored: info,
          foundBytes: size,
          same: true,
        });
      }
      expect(await staged()).toEqual([]);
    });

    it("reads ranges, at the end and past it", async () => {
      const bytes = randomBytes(300 * KIB);
      const { sha256 } = await store.put(chunks(bytes), { maxBytes: LIMIT });
      const ranges: [number, number | undefined][] = [
        [0, 1],
        [0, 0],
        [1, 99],
        [100_000, 150_000],
        [bytes.length - 1, undefined],
        [bytes.length - 10, 1_000],
        [bytes.length, undefined],
        [bytes.length, 5],
      ];
      for (const [offset, length] of ranges) {
        const expected = bytes.subarray(offset, length === undefined ? undefined : offset + length);
        const actual = await read(store.read(sha256, { offset, length }));
        expect({ offset, length, same: actual.equals(expected) }).toEqual({ offset, length, same: true });
      }
      for (const offset of [bytes.length + 1, -1, 0.5, Number.NaN]) {
        await expect(store.read(sha256, { offset })).rejects.toMatchObject({
          code: "out_of_range",
          reason: "OFFSET_OUT_OF_RANGE",
        });
      }
    });

    it("reads ranges into the caller's memory, which it fills up as long as there is enough", async () => {
      const bytes = randomBytes(300 * KIB);
      const { sha256 } = await store.put(chunks(bytes), { maxBytes: LIMIT });
      for (const [offset, length] of [
        [0, bytes.length],
        [7, 200 * KIB],
        [bytes.length, 5],
      ] as const) {
        const reader = await store.openReader(sha256, { offset, length });
        const memory = Buffer.alloc(128 * KIB);
        const received: Buffer[] = [];
        for (let filled: number; (filled = await reader.fill(memory)) > 0; ) {
          received.push(Buffer.from(memory.subarray(0, filled)));
        }
        await reader.close();
        await reader.close();
        const expected = bytes.subarray(offset, offset + length);
        expect(Buffer.concat(received).equals(expected)).toBe(true);
        expect(received).toHaveLength(Math.ceil(expected.length / memory.length));
      }
      const missing = store.openReader(infoOf(randomBytes(16)).sha256);
      await expect(missing).rejects.toMatchObject({ code: "not_found" });
      const stopped = new AbortController();
      const reader = await store.openReader(sha256, { signal: stopped.signal });
      const reason = new Error("the device went away");
      stopped.abort(reason);
      await expect(reader.fill(Buffer.alloc(bytes.length))).rejects.toBe(reason);
      await reader.close();
    });

    it("knows no object that was not put, and no address that is not a digest", async () => {
      const { sha256 } = infoOf(randomBytes(16));
      expect(await store.stat(sha256)).toBeUndefined();
      await expect(store.read(sha256)).rejects.toMatchObject({ code: "not_found" });
      await store.delete(sha256);
      for (const address of ["", "../../etc/passwd", sha256.toUpperCase(), `${sha256}\0`]) {
        await expect(store.stat(address)).rejects.toMatchObject({ code: "invalid_argument" });
        await expect(store.read(address)).rejects.toMatchObject({ code: "invalid_argument" });
      }
    });

    it("shows nothing of bytes that are not what was declared", async () => {
      const bytes = randomBytes(100 * KIB);
      const real = infoOf(bytes);
      const wrong = infoOf(randomBytes(1));
      const attempts: [ObjectInfo, number, string][] = [
        [{ sha256: wrong.sha256, sizeBytes: bytes.length }, LIMIT, "DIGEST_MISMATCH"],
        [{ sha256: real.sha256, sizeBytes: bytes.length - 1 }, LIMIT, "SIZE_MISMATCH"],
        [{ sha256: real.sha256, sizeBytes: bytes.length + 1 }, LIMIT, "UPLOAD_INCOMPLETE"],
        [real, bytes.length - 1, "SIZE_MISMATCH"],
      ];
      for (const [expected, maxBytes, reason] of attempts) {
        await expect(store.put(chunks(bytes), { maxBytes, expected })).rejects.toMatchObject({ reason });
      }
      expect(await store.stat(real.sha256)).toBeUndefined();
      expect(await store.stat(wrong.sha256)).toBeUndefined();
      expect(await staged()).toEqual([]);
    });

    it("leaves nothing behind when the source fails or the caller gives up", async () => {
      const failure = new Error("the client went away");
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield randomBytes(KIB);
        throw failure;
      };
      await expect(store.put(failing(), { maxBytes: LIMIT })).rejects.toBe(failure);

      const controller = new AbortController();
      const stuck = async function* (): AsyncGenerator<Uint8Array> {
        yield randomBytes(KIB);
        controller.abort(failure);
        await new Promise(() => undefined);
      };
      const put = store.put(stuck(), { maxBytes: LIMIT, signal: controller.signal });
      await expect(put).rejects.toBe(failure);
      expect(await staged()).toEqual([]);
    });

    it("stores the right bytes when an interrupted upload with long runs of zeros is put again", async () => {
      // Equal neighbouring parts, as the blank areas of a firmware image make them.
      const part = fixture.partSizeBytes;
      const bytes = Buffer.alloc(5 * part + 7);
      randomBytes(KIB).copy(bytes, 0);
      randomBytes(KIB).copy(bytes, 4 * part + 99);
      const info = infoOf(bytes);
      const controller = new AbortController();
      const interrupted = async function* (): AsyncGenerator<Uint8Array> {
        yield bytes.subarray(0, 3 * part);
        controller.abort(new Error("cut"));
        yield bytes.subarray(3 * part);
      };
      const first = store.put(interrupted(), { maxBytes: LIMIT, expected: info, signal: controller.signal });
      await expect(first).rejects.toThrow("cut");
      expect(await store.stat(info.sha256)).toBeUndefined();

      // Cut again and again while the bytes are being published, at whatever request that hits.
      for (let cutAfterMs = 1; cutAfterMs <= 64; cutAfterMs *= 2) {
        const signal = AbortSignal.timeout(cutAfterMs);
        const attempt = store.openUpload("firmware", { maxBytes: LIMIT });
        const upload = await attempt;
        if (upload.receivedBytes === 0) await upload.append(0, bytes);
        await upload.finish(info, signal).catch(() => upload.close());
      }
      await store.put(chunks(bytes), { maxBytes: LIMIT, expected: info });

      expect((await read(store.read(info.sha256))).equals(bytes)).toBe(true);
    });

    it("takes the same object from many at once", async () => {
      const bytes = randomBytes(fixture.partSizeBytes + 5);
      const info = infoOf(bytes);
      const puts = Array.from({ length: 6 }, () =>
        store.put(chunks(bytes), { maxBytes: LIMIT, expected: info }),
      );
      expect(await Promise.all(puts)).toEqual(Array.from({ length: 6 }, () => info));
      expect((await read(store.read(info.sha256))).equals(bytes)).toBe(true);
      expect(await staged()).toEqual([]);
    });

    it("deletes", async () => {
      const { sha256 } = await store.put(chunks(randomBytes(KIB)), { maxBytes: LIMIT });
      await store.delete(sha256);
      expect(await store.stat(sha256)).toBeUndefined();
      await expect(store.read(sha256)).rejects.toMatchObject({ code: "not_found" });
    });

    it("lists what it has, and neither uploads in progress nor its own probe", async () => {
      const listed = async () => {
        const found: ListedObject[] = [];
        for await (const page of store.list()) found.push(...page);
        return found.sort((a, b) => a.sizeBytes - b.sizeBytes);
      };
      expect(await listed()).toEqual([]);
      const sinceMs = Date.now() - 60_000;
      const infos: ObjectInfo[] = [];
      for (const size of [0, 10, fixture.partSizeBytes + 1])
        infos.push(await store.put(chunks(randomBytes(size)), { maxBytes: LIMIT }));
      await using upload = await store.openUpload("unfinished", { maxBytes: LIMIT });
      await upload.append(0, randomBytes(KIB));
      await store.check();
      const found = await listed();
      expect(found).toEqual(infos.map((info) => ({ ...info, modifiedAt: expect.any(Date) })));
      for (const { modifiedAt } of found) expect(modifiedAt.getTime()).toBeGreaterThan(sinceMs);
    });

    it("stops a read when the signal says so", async () => {
      const bytes = randomBytes(3 * fixture.partSizeBytes);
      const { sha256 } = await store.put(chunks(bytes), { maxBytes: LIMIT });
      const controller = new AbortController();
      const reason = new Error("the device went away");
      const stream = await store.read(sha256, { signal: controller.signal });
      const reading = (async () => {
        for await (const _ of stream) controller.abort(reason);
      })();
      await expect(reading).rejects.toBe(reason);
      expect(stream.destroyed).toBe(true);
    });

    it("is ready", async () => {
      await expect(store.check()).resolves.toBeUndefined();
    });

    describe("resumable uploads", () => {
      it("go on in the next process where the bytes of the last one end", async () => {
        const bytes = randomBytes(2 * fixture.partSizeBytes + 17);
        const info = infoOf(bytes);
        const first = await store.openUpload("upload-1", { maxBytes: LIMIT });
        await first.append(0, bytes.subarray(0, 70_000));
        await first.append(70_000, bytes.subarray(70_000, 100_000));
        // No close: the process is gone. What follows is another instance on the same folder.
        const next = fixture.open();
        const upload = await next.openUpload("upload-1", { maxBytes: LIMIT });
        expect(upload.committedBytes).toBe(100_000);
        await upload.append(100_000, bytes.subarray(100_000));
        expect(await store.stat(info.sha256)).toBeUndefined();
        expect(await upload.finish(info)).toEqual(info);
        expect((await read(next.read(info.sha256))).equals(bytes)).toBe(true);
        expect(await staged()).toEqual([]);
        await next.close();
      });

      it("say where they go on if a chunk is lost or repeated", async () => {
        await using upload = await store.openUpload("upload-2", { maxBytes: LIMIT });
        await upload.append(0, randomBytes(100));
        for (const offset of [0, 99, 101]) {
          await expect(upload.append(offset, randomBytes(10))).rejects.toMatchObject({
            reason: "UPLOAD_OFFSET_MISMATCH",
            metadata: { expected_offset: "100" },
          });
        }
        await upload.append(100, randomBytes(1));
        expect(upload.receivedBytes).toBe(101);
        expect(await upload.commit()).toBe(101);
      });

      it("survive being finished too early", async () => {
        const bytes = randomBytes(1_000);
        await using upload = await store.openUpload("upload-3", { maxBytes: LIMIT });
        await upload.append(0, bytes.subarray(0, 400));
        await expect(upload.finish(infoOf(bytes))).rejects.toMatchObject({
          reason: "UPLOAD_INCOMPLETE",
          metadata: { expected_offset: "400" },
        });
        await upload.append(400, bytes.subarray(400));
        expect(await upload.finish(infoOf(bytes))).toEqual(infoOf(bytes));
      });

      it("begin again after a wrong digest", async () => {
        const upload = await store.openUpload("upload-4", { maxBytes: LIMIT });
        await upload.append(0, randomBytes(100));
        const wrong = { sha256: infoOf(randomBytes(1)).sha256, sizeBytes: 100 };
        await expect(upload.finish(wrong)).rejects.toMatchObject({ reason: "DIGEST_MISMATCH" });
        await using again = await store.openUpload("upload-4", { maxBytes: LIMIT });
        expect(again.receivedBytes).toBe(0);
      });

      it("belong to the newest connection", async () => {
        const bytes = randomBytes(200);
        const older = await store.openUpload("upload-5", { maxBytes: LIMIT });
        await older.append(0, bytes.subarray(0, 100));
        const [newer, newest] = await Promise.all([
          store.openUpload("upload-5", { maxBytes: LIMIT }),
          store.openUpload("upload-5", { maxBytes: LIMIT }),
        ]);
        for (const fenced of [older, newer]) {
          await expect(fenced.append(100, bytes)).rejects.toMatchObject({ reason: "STREAM_SUPERSEDED" });
          await fenced.abort();
        }
        await newest.append(100, bytes.subarray(100));
        expect(await newest.finish(infoOf(bytes))).toEqual(infoOf(bytes));
      });

      it("have names that cannot leave their folder", async () => {
        for (const name of ["", "../up", "a/b", "a\0b", "x".repeat(129)]) {
          await expect(store.openUpload(name, { maxBytes: LIMIT })).rejects.toMatchObject({
            code: "invalid_argument",
          });
        }
      });

      it("are collected when nobody has touched them for long", async () => {
        const hour = 3_600_000;
        const abandoned = await store.openUpload("abandoned", { maxBytes: LIMIT });
        await abandoned.append(0, randomBytes(10));
        await abandoned.close();
        await using open = await store.openUpload("in-use", { maxBytes: LIMIT });
        fixture.clock.setWallClock(new Date());
        expect(await store.collectStale(hour)).toBe(0);
        fixture.clock.advance(2 * hour);
        expect(await store.collectStale(hour)).toBe(1);
        expect(await staged()).toEqual(["in-use.upload"]);
        await open.append(0, randomBytes(1));
      });
    });
  });
}

/** Address and size of some bytes. */
export function infoOf(bytes: Uint8Array): ObjectInfo {
  return { sha256: createHash("sha256").update(bytes).digest("hex"), sizeBytes: bytes.length };
}

/** The bytes in pieces as they come from a network. */
export async function* chunks(bytes: Uint8Array, size = 60_000): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

/** All bytes of a stream that is being opened. */
export async function read(opening: Promise<Readable>): Promise<Buffer> {
  return buffer(await opening);
}
