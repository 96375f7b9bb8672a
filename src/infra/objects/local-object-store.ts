import { randomUUID } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { notFound } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import { type ByteRange, exactly, READ_CHUNK_BYTES, type ReadOptions, resolveRange } from "./byte-range.ts";
import { makeFolder, syncFolder } from "./durable-folder.ts";
import { FileReader, type ObjectReader } from "./object-reader.ts";
import type {
  ListedObject,
  ObjectInfo,
  ObjectStore,
  ObjectUpload,
  PutOptions,
  StoredObject,
  UploadOptions,
} from "./object-store.ts";
import { type OpenFile, OpenFiles } from "./open-files.ts";
import { StagingArea } from "./staging-area.ts";
import { addressIn, assertSha256, storageError } from "./storage-errors.ts";

/**
 * Objects as files of one folder:
 *
 *     sha256/ab/abcdef…    an object, in one of 256 folders by its first two digits
 *     staging/             uploads in progress, on the same file system so that they can be renamed
 */
export class LocalObjectStore implements ObjectStore {
  readonly #folder: string;
  readonly #staging: StagingArea;
  readonly #files: OpenFiles;

  constructor(folder: string, clock: Clock) {
    this.#folder = resolve(folder);
    this.#files = new OpenFiles(etagOf, clock);
    this.#staging = new StagingArea(join(this.#folder, "staging"), clock, (path, info) =>
      this.#publish(path, info),
    );
  }

  put(source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo> {
    return this.#staging.put(source, options);
  }

  openUpload(uploadId: string, options: UploadOptions): Promise<ObjectUpload> {
    return this.#staging.open(uploadId, options);
  }

  async stat(sha256: string): Promise<StoredObject | undefined> {
    try {
      const found = await stat(this.#pathOf(sha256), { bigint: true });
      return { sizeBytes: Number(found.size), etag: etagOf(found) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw storageError("look the object up", error);
    }
  }

  async read(sha256: string, options: ReadOptions = {}): Promise<Readable> {
    const { file, offset, length } = await this.#open(sha256, options);
    if (length === 0) {
      await file.close();
      return Readable.from([], { objectMode: false });
    }
    const stream = file.createReadStream({
      start: offset,
      end: offset + length - 1,
      highWaterMark: READ_CHUNK_BYTES,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return exactly(stream, length, options.signal);
  }

  async openReader(sha256: string, options: ReadOptions = {}): Promise<ObjectReader> {
    options.signal?.throwIfAborted();
    let file: OpenFile;
    try {
      file = await this.#files.open(this.#pathOf(sha256), options.etag);
    } catch (error) {
      throw openError(sha256, error);
    }
    try {
      return new FileReader(file, resolveRange(options, file.sizeBytes), options.signal);
    } catch (error) {
      await file.release(false);
      throw error;
    }
  }

  async *list(signal?: AbortSignal): AsyncGenerator<readonly ListedObject[]> {
    try {
      const top = await this.#entries("");
      yield await this.#listed(top.filter((name) => !isOwn(name)));
      if (!top.includes("sha256")) return;
      for (const shard of await this.#entries("sha256")) {
        signal?.throwIfAborted();
        const folder = join("sha256", shard);
        const isFolder = (await stat(join(this.#folder, folder))).isDirectory();
        const paths = isFolder ? (await this.#entries(folder)).map((name) => join(folder, name)) : [folder];
        yield await this.#listed(paths);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw storageError("be listed", error);
    }
  }

  async delete(sha256: string): Promise<void> {
    const path = this.#pathOf(sha256);
    try {
      await this.#files.drop(path);
      await rm(path);
      await syncFolder(dirname(path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw storageError("remove the object", error);
    }
  }

  /** Writes and removes a file, which finds a full, read-only or missing disk. */
  async check(signal?: AbortSignal): Promise<void> {
    const probe = join(this.#folder, `probe-${randomUUID()}`);
    try {
      await makeFolder(this.#folder);
      await writeFile(probe, "probe", signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw storageError("be written to", error);
    } finally {
      await rm(probe, { force: true }).catch(() => undefined);
    }
  }

  /** Files of this machine have no URL of their own. */
  async presignedUrl(): Promise<undefined> {
    return undefined;
  }

  async collectStale(maxAgeMs: number, signal?: AbortSignal): Promise<number> {
    await this.#files.closeIdle();
    return await this.#staging.collectStale(maxAgeMs, signal);
  }

  async close(): Promise<void> {
    await this.#files.close();
    await this.#staging.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The names in a folder; none if there is no such folder. */
  async #entries(folder: string): Promise<string[]> {
    try {
      return await readdir(join(this.#folder, folder));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  async #listed(paths: readonly string[]): Promise<ListedObject[]> {
    const listed: ListedObject[] = [];
    for (const path of paths) {
      const found = await stat(join(this.#folder, path)).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (found === undefined) continue;
      const sha256 = found.isFile() ? addressIn(path) : undefined;
      listed.push({ sha256, sizeBytes: found.size, modifiedAt: found.mtime });
    }
    return listed;
  }

  async #open(sha256: string, options: ReadOptions): Promise<ByteRange & { file: FileHandle }> {
    options.signal?.throwIfAborted();
    const path = this.#pathOf(sha256);
    let file: FileHandle;
    try {
      file = await open(path, "r");
    } catch (error) {
      throw openError(sha256, error);
    }
    try {
      return { file, ...resolveRange(options, (await file.stat()).size) };
    } catch (error) {
      await file.close();
      throw storageError("read", error);
    }
  }

  /**
   * The staged file is on disk; renaming it makes the object appear whole. Over an object that is there already too: it
   * has the same bytes, or had them until something damaged it.
   */
  async #publish(staged: string, info: ObjectInfo): Promise<void> {
    const path = this.#pathOf(info.sha256);
    await makeFolder(dirname(path));
    await rename(staged, path);
    await syncFolder(dirname(path));
  }

  #pathOf(sha256: string): string {
    assertSha256(sha256);
    return join(this.#folder, "sha256", sha256.slice(0, 2), sha256);
  }
}

function openError(sha256: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" ? notFound("object", sha256) : storageError("read", error);
}

/** Whether a name in the store's folder is the store's own, and no object. */
function isOwn(name: string): boolean {
  return name === "sha256" || name === "staging" || name.startsWith("probe-");
}

/**
 * Every write to a file moves its change time. A file system's clock may tick no finer than some milliseconds, so a
 * file that was touched just now could be touched again unseen: it has no etag yet.
 */
function etagOf(found: BigIntStats): string | undefined {
  const ageMs = Date.now() - Number(found.ctimeMs);
  return ageMs < settledMs ? undefined : `${found.ino}-${found.ctimeNs}-${found.mtimeNs}`;
}

/** Longer than any file system's clock tick (FAT has 2 s). */
const settledMs = 2_500;
