import { mkdtemp, readdir, readlink, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { type OpenFile, OpenFiles } from "./open-files.ts";

let folder: string;
let clock: FakeClock;
let files: OpenFiles;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "open-files-"));
  clock = new FakeClock();
  files = new OpenFiles(({ ino }) => String(ino), clock);
});
afterEach(async () => {
  await files.close();
  const left = await descriptors();
  await rm(folder, { recursive: true });
  if (left.length > 0) throw new Error(`left open: ${left.join(", ")}`);
});

async function fileOf(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
  return path;
}

async function textOf({ handle, sizeBytes }: OpenFile): Promise<string> {
  const { buffer } = await handle.read(Buffer.alloc(sizeBytes), 0, sizeBytes, 0);
  return buffer.toString();
}

/** What this process has open of the folder. */
async function descriptors(): Promise<string[]> {
  const open: string[] = [];
  for (const name of await readdir("/proc/self/fd")) {
    const target = await readlink(join("/proc/self/fd", name)).catch(() => "");
    if (target.startsWith(folder)) open.push(target.slice(folder.length + 1));
  }
  return open.toSorted();
}

/** The etag that a file has now. */
async function etagOf(path: string): Promise<string> {
  const file = await files.open(path, undefined);
  const { ino } = await file.handle.stat({ bigint: true });
  await file.release(false);
  return String(ino);
}

it("shares a file by its etag, one after the other and at once", async () => {
  const path = await fileOf("a", "text");
  const etag = await etagOf(path);
  const [one, other] = [await files.open(path, etag), await files.open(path, etag)];
  expect(one.handle).toBe(other.handle);
  await one.release(false);
  await one.release(false);
  expect(await textOf(other)).toBe("text");
  await other.release(false);
  const again = await files.open(path, etag);
  expect(again.handle).toBe(one.handle);
  expect(await descriptors()).toEqual(["a"]);
  await again.release(false);
});

it("reads a file that was replaced anew, while who read the one before goes on", async () => {
  const path = await fileOf("a", "before");
  const before = await files.open(path, undefined);
  await fileOf("a", "after");
  const after = await files.open(path, "another");
  expect([await textOf(before), await textOf(after)]).toEqual(["before", "after"]);
  await before.release(false);
  expect(await descriptors()).toEqual(["a"]);
  await after.release(false);
});

it("does not trust whom nobody names by an etag, nor a handle that failed to read", async () => {
  const path = await fileOf("a", "text");
  const etag = await etagOf(path);
  const kept = await files.open(path, etag);
  const unnamed = await files.open(path, undefined);
  expect(unnamed.handle).not.toBe(kept.handle);
  await unnamed.release(true);
  const next = await files.open(path, etag);
  expect(next.handle).not.toBe(unnamed.handle);
  await next.release(false);
  await kept.release(false);
});

it("closes what nobody reads for a while, or is about to be removed", async () => {
  const [a, b, c] = [await fileOf("a", "a"), await fileOf("b", "b"), await fileOf("c", "c")];
  await etagOf(a);
  const read = await files.open(b, undefined);
  clock.advance(6_000);
  await etagOf(c);
  expect(await descriptors()).toEqual(["b", "c"]);
  await files.drop(c);
  await files.drop(b);
  expect(await descriptors()).toEqual(["b"]);
  expect(await textOf(read)).toBe("b");
  await read.release(false);
  expect(await descriptors()).toEqual([]);
});

it("keeps no more than so many open", async () => {
  for (let number = 0; number < 40; number++) await etagOf(await fileOf(String(number), "text"));
  expect(await descriptors()).toHaveLength(32);
});

it("keeps none open when the store is closed", async () => {
  const path = await fileOf("a", "text");
  const read = await files.open(path, undefined);
  await files.close();
  expect(await textOf(read)).toBe("text");
  await read.release(false);
  await etagOf(path);
  expect(await descriptors()).toEqual([]);
});
