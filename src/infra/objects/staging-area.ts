import { randomUUID } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { invalidArgument } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import { abortable } from "./abortable.ts";
import { makeFolder, syncFolder } from "./durable-folder.ts";
import type { ObjectInfo, PutOptions, UploadOptions } from "./object-store.ts";
import { type Publish, StagedUpload } from "./staged-upload.ts";
import { storageError } from "./storage-errors.ts";

/**
 * The local folder in which every upload gathers before it becomes an object, for every kind of store: bytes are
 * counted, hashed and compared with what was declared before the store sees them, and a broken upload goes on
 * where its bytes end, also after a restart. Replicas behind one balancer do not share it: a client that resumes at
 * another replica begins at that one's offset, which is 0.
 */
export class StagingArea {
  readonly #folder: string;
  readonly #publish: Publish;
  readonly #clock: Clock;
  /** Opened uploads by name; the promise serves those that open the same name at once. */
  readonly #uploads = new Map<string, Promise<StagedUpload>>();

  constructor(folder: string, clock: Clock, publish: Publish) {
    this.#folder = folder;
    this.#publish = publish;
    this.#clock = clock;
  }

  /** Opens an upload, and takes it from whoever had it open. */
  async open(uploadId: string, options: UploadOptions): Promise<StagedUpload> {
    if (!/^[A-Za-z0-9_-]{1,128}$/.test(uploadId)) {
      throw invalidArgument("upload_id", "must be 1 to 128 letters, digits, '-' or '_'");
    }
    const older = this.#uploads.get(uploadId);
    const opening: Promise<StagedUpload> = this.#openAfter(older, uploadId, options, () => {
      this.#forget(uploadId, opening);
    });
    this.#uploads.set(uploadId, opening);
    try {
      return await opening;
    } catch (error) {
      this.#forget(uploadId, opening);
      throw error;
    }
  }

  /** Stages and publishes a whole source. */
  async put(source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo> {
    const upload = await this.open(`put-${randomUUID()}`, options);
    try {
      for await (const chunk of abortable(source, options.signal)) {
        await upload.append(upload.receivedBytes, chunk);
      }
      return await upload.finish(options.expected, options.signal);
    } finally {
      await upload.abort();
    }
  }

  /** Removes files of uploads that are not open and were last written `maxAgeMs` ago. */
  async collectStale(maxAgeMs: number, signal?: AbortSignal): Promise<number> {
    const oldest = this.#clock.now().getTime() - maxAgeMs;
    let removed = 0;
    for (const name of await this.#names()) {
      signal?.throwIfAborted();
      if (this.#uploads.has(name.slice(0, -SUFFIX.length))) continue;
      const path = join(this.#folder, name);
      const modified = (await stat(path).catch(() => undefined))?.mtimeMs;
      if (modified === undefined || modified > oldest) continue;
      await rm(path, { force: true });
      removed++;
    }
    return removed;
  }

  /** Closes what is open; it can be opened again from the same folder. */
  async close(): Promise<void> {
    const uploads = [...this.#uploads.values()];
    await Promise.all(
      uploads.map((opening) =>
        opening.then(
          (upload) => upload.close(),
          () => undefined,
        ),
      ),
    );
  }

  async #openAfter(
    older: Promise<StagedUpload> | undefined,
    uploadId: string,
    options: UploadOptions,
    onEnded: () => void,
  ): Promise<StagedUpload> {
    await older?.then((upload) => upload.supersede()).catch(() => undefined);
    try {
      await makeFolder(this.#folder);
      const path = join(this.#folder, `${uploadId}${SUFFIX}`);
      const upload = await StagedUpload.open(path, options, { publish: this.#publish, onEnded });
      // The name of a new file is durable only with its folder.
      if (upload.committedBytes === 0) await syncFolder(this.#folder);
      return upload;
    } catch (error) {
      options.signal?.throwIfAborted();
      throw storageError("open the upload", error);
    }
  }

  #forget(uploadId: string, opening: Promise<StagedUpload>): void {
    if (this.#uploads.get(uploadId) === opening) this.#uploads.delete(uploadId);
  }

  async #names(): Promise<string[]> {
    const names = await readdir(this.#folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw storageError("list its uploads", error);
    });
    return names.filter((name) => name.endsWith(SUFFIX));
  }
}

const SUFFIX = ".upload";
