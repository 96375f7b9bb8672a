import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { OtaError } from "../../errors.ts";
import { READ_CHUNK_BYTES } from "./byte-range.ts";
import type { ObjectInfo, ObjectUpload, UploadOptions } from "./object-store.ts";
import { storageError } from "./storage-errors.ts";

/** Makes a staged file, which is complete, verified and on disk, the object of that address. May move the file. */
export type Publish = (path: string, info: ObjectInfo, signal: AbortSignal | undefined) => Promise<void>;

/** What an upload asks of the area that it lives in. */
export interface UploadSteps {
  readonly publish: Publish;
  /** Called once, when the upload takes no more calls. */
  readonly onEnded: () => void;
}

/**
 * Bytes received but not written through: what a crash of the machine may cost an upload. A write-through every 8 MiB
 * is lost in the noise on a disk that takes 100 MB/s.
 */
const COMMIT_EVERY_BYTES = 8 * 1024 * 1024;

/**
 * One upload in a local staging file. The file's length is the whole state: opening it again reads the bytes back
 * to compute the digest, so nothing else has to be kept in step with them across a crash.
 */
export class StagedUpload implements ObjectUpload {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #hash: Hash;
  readonly #maxBytes: number;
  readonly #publish: Publish;
  readonly #onEnded: () => void;
  #receivedBytes: number;
  #committedBytes: number;
  /** Why the upload takes no more calls. */
  #ended: "closed" | "superseded" | undefined;
  /** Whether it ended because a write failed: its bytes are still there. */
  #hasFailed = false;
  /** Calls run one after the other, so that closing waits for a write or a publication in progress. */
  #last: Promise<unknown> = Promise.resolve();

  /** Opens the staging file where it was left, or makes it. */
  static async open(path: string, options: UploadOptions, steps: UploadSteps): Promise<StagedUpload> {
    try {
      // "a+" creates without truncating, and every write goes to the end.
      const file = await open(path, "a+", 0o600);
      try {
        const hash = createHash("sha256");
        let sizeBytes = 0;
        const staged = file.createReadStream({ start: 0, highWaterMark: READ_CHUNK_BYTES, autoClose: false });
        for await (const chunk of staged as AsyncIterable<Buffer>) {
          options.signal?.throwIfAborted();
          hash.update(chunk);
          sizeBytes += chunk.length;
        }
        // Bytes of a killed process are in the page cache, but perhaps not yet on disk.
        await file.datasync();
        return new StagedUpload(path, file, hash, sizeBytes, options.maxBytes, steps);
      } catch (error) {
        await file.close();
        throw error;
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      throw storageError("open the upload", error);
    }
  }

  private constructor(
    path: string,
    file: FileHandle,
    hash: Hash,
    sizeBytes: number,
    maxBytes: number,
    steps: UploadSteps,
  ) {
    this.#path = path;
    this.#file = file;
    this.#hash = hash;
    this.#receivedBytes = sizeBytes;
    this.#committedBytes = sizeBytes;
    this.#maxBytes = maxBytes;
    this.#publish = steps.publish;
    this.#onEnded = steps.onEnded;
  }

  get committedBytes(): number {
    return this.#committedBytes;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  append(offset: number, chunk: Uint8Array): Promise<void> {
    return this.#exclusive(async () => {
      if (offset !== this.#receivedBytes) throw this.#offsetMismatch(offset);
      if (offset + chunk.length > this.#maxBytes) {
        await this.#discard();
        throw sizeMismatch(offset + chunk.length, this.#maxBytes);
      }
      try {
        await writeFully(this.#file, chunk);
        this.#hash.update(chunk);
        this.#receivedBytes += chunk.length;
        if (this.#receivedBytes - this.#committedBytes >= COMMIT_EVERY_BYTES) await this.#sync();
      } catch (error) {
        await this.#endAfterFailure();
        throw storageError("take the upload", error);
      }
    });
  }

  commit(): Promise<number> {
    return this.#exclusive(async () => {
      await this.#sync();
      return this.#committedBytes;
    });
  }

  finish(expected?: ObjectInfo, signal?: AbortSignal): Promise<ObjectInfo> {
    return this.#exclusive(async () => {
      const sizeBytes = this.#receivedBytes;
      if (expected !== undefined && sizeBytes < expected.sizeBytes)
        throw incomplete(sizeBytes, expected.sizeBytes);
      const info = { sha256: this.#hash.copy().digest("hex"), sizeBytes };
      if (expected !== undefined && sizeBytes > expected.sizeBytes) {
        await this.#discard();
        throw sizeMismatch(sizeBytes, expected.sizeBytes);
      }
      if (expected !== undefined && info.sha256 !== expected.sha256) {
        await this.#discard();
        throw digestMismatch(info.sha256, expected.sha256);
      }
      await this.#sync();
      try {
        await this.#publish(this.#path, info, signal);
      } catch (error) {
        signal?.throwIfAborted();
        throw storageError("store the object", error);
      }
      await this.#discard();
      return info;
    });
  }

  abort(): Promise<void> {
    return this.#afterOthers(async () => {
      await this.#discard();
      if (this.#hasFailed) await rm(this.#path, { force: true });
    });
  }

  close(): Promise<void> {
    return this.#close("closed");
  }

  /** Closes the upload in favour of a newer handle. */
  supersede(): Promise<void> {
    return this.#close("superseded");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #close(why: "closed" | "superseded"): Promise<void> {
    return this.#afterOthers(async () => {
      if (this.#ended !== undefined) return;
      this.#end(why);
      try {
        await this.#sync();
      } finally {
        await this.#file.close();
      }
    });
  }

  async #discard(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#end("closed");
    await this.#file.close();
    await rm(this.#path, { force: true });
  }

  /**
   * How much of the last chunk was written is unknown: it is cut off, and its space given back. What came before stays, and
   * whoever opens the upload again reads what is there. After a failed sync only what was synced before is sure to be.
   */
  async #endAfterFailure(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#end("closed");
    this.#hasFailed = true;
    try {
      await this.#file.truncate(this.#receivedBytes);
      await this.#file.datasync();
      this.#committedBytes = this.#receivedBytes;
    } catch {
      await this.#file.truncate(this.#committedBytes).catch(() => undefined);
    } finally {
      await this.#file.close();
    }
  }

  #end(why: "closed" | "superseded"): void {
    this.#ended = why;
    this.#onEnded();
  }

  async #sync(): Promise<void> {
    const upTo = this.#receivedBytes;
    try {
      await this.#file.datasync();
    } catch (error) {
      throw storageError("take the upload", error);
    }
    this.#committedBytes = upTo;
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#afterOthers(() => {
      if (this.#ended !== undefined) throw ended(this.#ended);
      return work();
    });
  }

  #afterOthers<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #offsetMismatch(offset: number): OtaError {
    const expected = this.#receivedBytes;
    return new OtaError(
      "out_of_range",
      "UPLOAD_OFFSET_MISMATCH",
      `the chunk begins at byte ${offset}, but the upload goes on at byte ${expected}`,
      { metadata: { offset: String(offset), expected_offset: String(expected) } },
    );
  }
}

async function writeFully(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    written += (await file.write(chunk, written, chunk.length - written)).bytesWritten;
  }
}

function ended(why: "closed" | "superseded"): OtaError {
  return why === "superseded"
    ? new OtaError("aborted", "STREAM_SUPERSEDED", "the upload was continued on another connection")
    : new OtaError("failed_precondition", "ILLEGAL_TRANSITION", "the upload is closed");
}

function sizeMismatch(sizeBytes: number, expectedBytes: number): OtaError {
  return new OtaError(
    "invalid_argument",
    "SIZE_MISMATCH",
    `the upload has at least ${sizeBytes} bytes where ${expectedBytes} are allowed`,
    { metadata: { size_bytes: String(sizeBytes), expected_bytes: String(expectedBytes) } },
  );
}

function incomplete(sizeBytes: number, expectedBytes: number): OtaError {
  return new OtaError(
    "failed_precondition",
    "UPLOAD_INCOMPLETE",
    `the upload has ${sizeBytes} of ${expectedBytes} bytes; continue it there`,
    { metadata: { expected_offset: String(sizeBytes), expected_bytes: String(expectedBytes) } },
  );
}

function digestMismatch(sha256: string, expected: string): OtaError {
  return new OtaError(
    "invalid_argument",
    "DIGEST_MISMATCH",
    `the uploaded bytes have the SHA-256 ${sha256}, not the declared ${expected}`,
    { metadata: { sha256, expected_sha256: expected } },
  );
}
