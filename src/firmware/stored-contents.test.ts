import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../infra/clock.ts";
import { LocalObjectStore } from "../infra/objects/local-object-store.ts";
import { storageError } from "../infra/objects/storage-errors.ts";
import { StoredContents } from "./stored-contents.ts";

const bytes = randomBytes(600_000);
const content = { sha256: createHash("sha256").update(bytes).digest("hex"), sizeBytes: bytes.length };
const { signal } = new AbortController();

let folder: string;
let store: LocalObjectStore;
let contents: StoredContents;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stored-contents-"));
  store = new LocalObjectStore(folder, systemClock);
  await store.put(Readable.from([bytes]), { maxBytes: bytes.length });
  contents = new StoredContents(store, systemClock);
});

afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

describe("StoredContents", () => {
  it("tells what is sound from what is damaged with the same size, and from what is missing", async () => {
    const found: string[] = [];
    contents.onDamage((sha256) => found.push(sha256));
    expect(await contents.check(content, { signal })).toBe("sound");
    expect(await contents.has(content, signal)).toBe(true);
    const file = join(folder, "sha256", content.sha256.slice(0, 2), content.sha256);
    await writeFile(file, randomBytes(bytes.length));
    expect(await contents.has(content, signal)).toBe(false);
    expect(await contents.isKnownBad(content.sha256, signal)).toBe(true);
    expect(await contents.check({ ...content, sizeBytes: 5 }, { signal })).toBe("damaged");
    expect(found).toEqual([content.sha256, content.sha256]);
    await rm(file);
    expect(await contents.check(content, { signal })).toBe("missing");
    await store.put(Readable.from([bytes]), { maxBytes: bytes.length });
    expect(await contents.has(content, signal)).toBe(true);
    expect(await contents.isKnownBad(content.sha256, signal)).toBe(false);
  });

  it("does not read again what it knows to be damaged", async () => {
    await writeFile(join(folder, "sha256", content.sha256.slice(0, 2), content.sha256), randomBytes(600_000));
    let reads = 0;
    let etag = "rotten";
    const watched = new StoredContents(
      {
        stat: async () => ({ sizeBytes: bytes.length, etag }),
        openReader: (...args) => {
          reads++;
          return store.openReader(...args);
        },
      },
      systemClock,
    );
    expect(await watched.has(content, signal)).toBe(false);
    expect(await watched.has(content, signal)).toBe(false);
    expect(reads).toBe(1);
    await store.put(Readable.from([bytes]), { maxBytes: bytes.length });
    etag = "new";
    expect(await watched.has(content, signal)).toBe(true);
  });

  it("calls content damaged that the disk cannot read, and blames a store that is away for nothing", async () => {
    const failing = (code: string) =>
      new StoredContents(
        {
          stat: (sha256) => store.stat(sha256),
          openReader: async () => {
            throw storageError("read", Object.assign(new Error(code), { code }));
          },
        },
        systemClock,
      );
    expect(await failing("EIO").check(content, { signal })).toBe("damaged");
    await expect(failing("ECONNREFUSED").check(content, { signal })).rejects.toMatchObject({
      reason: "STORAGE_UNAVAILABLE",
    });
  });

  it("reads no faster than it may, and stops with the signal", async () => {
    const stop = new AbortController();
    let reads = 0;
    const watched = new StoredContents(
      {
        stat: (sha256) => store.stat(sha256),
        openReader: async (...args) => {
          const reader = await store.openReader(...args);
          const fill = (memory: Buffer) => {
            // At this rate the next read is hours away.
            if (++reads === 1) setImmediate(() => stop.abort(new Error("stopping")));
            return reader.fill(memory);
          };
          return { fill, close: () => reader.close() };
        },
      },
      systemClock,
    );
    const check = watched.check(content, { signal: stop.signal, bytesPerSecond: 10 });
    await expect(check).rejects.toThrow("stopping");
    expect(reads).toBe(1);
  });
});
