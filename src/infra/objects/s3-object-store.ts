import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import { type Client, S3Error } from "minio";
import { notFound, OtaError } from "../../errors.ts";
import { retry } from "../back-off.ts";
import type { Clock } from "../clock.ts";
import { exactly, type ReadOptions, resolveRange } from "./byte-range.ts";
import { type ObjectReader, StreamReader } from "./object-reader.ts";
import type {
  ListedObject,
  ObjectInfo,
  ObjectStore,
  ObjectUpload,
  PutOptions,
  StoredObject,
  UploadOptions,
} from "./object-store.ts";
import { defaultIdleTimeoutMs, encryptionHeaders, type S3Place, s3Client } from "./s3-client.ts";
import { refusalOf } from "./s3-refusals.ts";
import { S3Transport, SilentStore } from "./s3-transport.ts";
import { StagingArea } from "./staging-area.ts";
import { addressIn, assertSha256, storageError, storageUnavailable } from "./storage-errors.ts";

/** Where the store is, how it is entered, and how it is used. */
export interface S3Options extends S3Place {
  /** Before every key, for a bucket that is shared; nothing unless given. */
  readonly keyPrefix?: string | undefined;
  /** Local folder in which uploads gather (see {@link StagingArea}). */
  readonly stagingFolder: string;
  /** Size of a part and of the largest object sent in one request; held in memory once for each upload. */
  readonly partSizeBytes?: number | undefined;
  /** Keys of one page of a listing. As many as S3 answers with at once unless given. */
  readonly pageSize?: number | undefined;
}

/** Between S3's least part (5 MiB) and what a small machine can hold for a few uploads at once. */
const DEFAULT_PART_SIZE_BYTES = 8 * 1024 * 1024;

const DEFAULT_PAGE_SIZE = 1_000;

/** S3's limit; larger objects get larger parts. */
const MAX_PARTS = 10_000;

/**
 * Objects in any S3-compatible store, by the minio client.
 *
 * An upload gathers and is verified in the local staging folder, and only then is it sent: known size and digest make
 * every request repeatable, and a device's broken upload never meets the store. The client's own `putObject` of a
 * stream is avoided: it resumes an earlier attempt of the same key by comparing parts, and with the runs of equal
 * parts that firmware images have it has stored wrong bytes and reported success. Here every attempt has a multipart
 * upload of its own, which is aborted if anything fails, and what was stored is read back and compared with the digest
 * before `put` returns. The key is final from the start: until then nobody knows the digest that it consists of, and a
 * copy from a temporary key would be one more thing to verify.
 */
export class S3ObjectStore implements ObjectStore {
  readonly #client: Client;
  /** Makes URLs for others, and no requests. */
  readonly #signer: Client;
  readonly #encryption: Readonly<Record<string, string>>;
  readonly #transport: S3Transport;
  readonly #bucket: string;
  /** Before every key. */
  readonly #root: string;
  readonly #keyPrefix: string;
  readonly #probeKey: string;
  readonly #partSizeBytes: number;
  readonly #pageSize: number;
  readonly #staging: StagingArea;
  readonly #clock: Clock;

  constructor(options: S3Options, clock: Clock) {
    const { endpoint, publicEndpoint = endpoint, idleTimeoutMs = defaultIdleTimeoutMs } = options;
    this.#transport = new S3Transport(new URL(endpoint).protocol === "https:", idleTimeoutMs);
    this.#client = s3Client(endpoint, options, this.#transport);
    this.#signer = s3Client(publicEndpoint, options);
    this.#encryption = encryptionHeaders(options.encryption);
    this.#bucket = options.bucket;
    this.#root = options.keyPrefix ?? "";
    this.#keyPrefix = `${this.#root}sha256/`;
    this.#probeKey = `${this.#root}probe`;
    this.#partSizeBytes = options.partSizeBytes ?? DEFAULT_PART_SIZE_BYTES;
    this.#pageSize = options.pageSize ?? DEFAULT_PAGE_SIZE;
    this.#clock = clock;
    this.#staging = new StagingArea(options.stagingFolder, clock, (path, info, signal) =>
      this.#transport.run(signal, () => this.#publish(path, info, signal)),
    );
  }

  put(source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo> {
    return this.#staging.put(source, options);
  }

  openUpload(uploadId: string, options: UploadOptions): Promise<ObjectUpload> {
    return this.#staging.open(uploadId, options);
  }

  async stat(sha256: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
    const key = this.#keyOf(sha256);
    try {
      const found = await this.#transport.run(signal, () =>
        retried(() => this.#client.statObject(this.#bucket, key), signal),
      );
      // An ETag is a digest of the content or of its parts, so other content has another one.
      return { sizeBytes: found.size, etag: found.etag === "" ? undefined : found.etag };
    } catch (error) {
      signal?.throwIfAborted();
      if (isMissing(error)) return undefined;
      throw storageError("look the object up", error);
    }
  }

  async read(sha256: string, options: ReadOptions = {}): Promise<Readable> {
    const found = await this.stat(sha256, options.signal);
    if (found === undefined) throw notFound("object", sha256);
    const { offset, length } = resolveRange(options, found.sizeBytes);
    if (length === 0) return Readable.from([], { objectMode: false });
    try {
      return await this.#transport.run(options.signal, () =>
        this.#get(this.#keyOf(sha256), offset, length, options.signal),
      );
    } catch (error) {
      options.signal?.throwIfAborted();
      if (isMissing(error)) throw notFound("object", sha256);
      throw storageError("read", error);
    }
  }

  async openReader(sha256: string, options?: ReadOptions): Promise<ObjectReader> {
    return new StreamReader(await this.read(sha256, options));
  }

  async *list(signal?: AbortSignal): AsyncGenerator<readonly ListedObject[]> {
    let after = "";
    try {
      for (;;) {
        const keys = await this.#transport.run(signal, () => this.#listPage(after));
        yield keys
          .filter(({ name }) => name !== this.#probeKey)
          .map(({ name, size, lastModified }) => ({
            sha256: addressIn(name.slice(this.#root.length)),
            sizeBytes: size,
            modifiedAt: lastModified,
          }));
        after = keys.at(-1)?.name ?? "";
        if (keys.length < this.#pageSize) return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw storageError("be listed", error);
    }
  }

  async delete(sha256: string, signal?: AbortSignal): Promise<void> {
    const key = this.#keyOf(sha256);
    try {
      await this.#transport.run(signal, () =>
        retried(() => this.#client.removeObject(this.#bucket, key), signal),
      );
    } catch (error) {
      signal?.throwIfAborted();
      if (!isMissing(error)) throw storageError("remove the object", error);
    }
  }

  /** Writes and removes a small object, which needs the network, the credentials, the bucket and room in it. */
  async check(signal?: AbortSignal): Promise<void> {
    const probe = Buffer.from("probe");
    try {
      await this.#transport.run(signal, () =>
        this.#client.putObject(this.#bucket, this.#probeKey, probe, probe.length, this.#encryption),
      );
    } catch (error) {
      signal?.throwIfAborted();
      throw refusalOf(error) ?? storageError("be written to", error);
    }
    // One object at most is left where it may not be removed: the key is always the same.
    await this.#transport
      .run(signal, () => this.#client.removeObject(this.#bucket, this.#probeKey))
      .catch(() => undefined);
  }

  async presignedUrl(sha256: string, ttlSeconds: number): Promise<string> {
    const key = this.#keyOf(sha256);
    const shown = {
      "response-content-type": "application/octet-stream",
      "response-content-disposition": `attachment; filename="${sha256}.bin"`,
    };
    try {
      return await this.#signer.presignedGetObject(this.#bucket, key, ttlSeconds, shown, this.#clock.now());
    } catch (error) {
      throw storageError("sign a URL", error);
    }
  }

  /** Also aborts multipart uploads of killed services, which cost storage that no listing of objects shows. */
  async collectStale(maxAgeMs: number, signal?: AbortSignal): Promise<number> {
    const staged = await this.#staging.collectStale(maxAgeMs, signal);
    try {
      return staged + (await this.#transport.run(signal, () => this.#abortStaleMultiparts(maxAgeMs)));
    } catch (error) {
      signal?.throwIfAborted();
      throw storageError("list its uploads", error);
    }
  }

  async close(): Promise<void> {
    await this.#staging.close();
    this.#transport.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #publish(staged: string, info: ObjectInfo, signal: AbortSignal | undefined): Promise<void> {
    const key = this.#keyOf(info.sha256);
    await using file = await open(staged, "r");
    if (info.sizeBytes <= this.#partSizeBytes) {
      const bytes = await readPart(file, 0, info.sizeBytes);
      await retried(
        () => this.#client.putObject(this.#bucket, key, bytes, bytes.length, this.#encryption),
        signal,
      );
    } else {
      await this.#putMultipart(key, file, info.sizeBytes, signal);
    }
    await this.#verify(key, info);
  }

  async #putMultipart(
    key: string,
    file: FileHandle,
    sizeBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const partSize = Math.max(this.#partSizeBytes, Math.ceil(sizeBytes / MAX_PARTS));
    const uploadID = await this.#client.initiateNewMultipartUpload(this.#bucket, key, {
      "Content-Type": "application/octet-stream",
      ...this.#encryption,
    });
    try {
      const parts: { part: number; etag: string }[] = [];
      for (let offset = 0; offset < sizeBytes; offset += partSize) {
        const bytes = await readPart(file, offset, Math.min(partSize, sizeBytes - offset));
        const headers = {
          "Content-Length": bytes.length,
          "Content-MD5": createHash("md5").update(bytes).digest("base64"),
        };
        const partNumber = parts.length + 1;
        const upload = { bucketName: this.#bucket, objectName: key, uploadID, partNumber, headers };
        const { etag } = await retried(() => this.#client.uploadPart(upload, bytes), signal);
        parts.push({ part: partNumber, etag });
      }
      await this.#client.completeMultipartUpload(this.#bucket, key, uploadID, parts);
    } catch (error) {
      // Outside the caller's signal, which may be why we are here. What this cannot abort is collected by age.
      await this.#transport
        .run(AbortSignal.timeout(ABORT_TIMEOUT_MS), () =>
          this.#client.abortMultipartUpload(this.#bucket, key, uploadID),
        )
        .catch(() => undefined);
      throw error;
    }
  }

  /** Reads the object back. What is not the object is removed. */
  async #verify(key: string, info: ObjectInfo): Promise<void> {
    const hash = createHash("sha256");
    const { size } = await this.#client.statObject(this.#bucket, key);
    if (size === info.sizeBytes) {
      if (size > 0) for await (const chunk of await this.#get(key, 0, size)) hash.update(chunk as Buffer);
      if (hash.digest("hex") === info.sha256) return;
    }
    await this.#client.removeObject(this.#bucket, key);
    throw storageUnavailable("store the object", new Error(`what was stored as ${key} is not what was sent`));
  }

  async #get(key: string, offset: number, length: number, signal?: AbortSignal): Promise<Readable> {
    return exactly(await this.#client.getPartialObject(this.#bucket, key, offset, length), length, signal);
  }

  /** The keys of a page, behind one. */
  async #listPage(after: string): Promise<ListedKey[]> {
    const keys: ListedKey[] = [];
    const listing = this.#client.listObjectsV2(this.#bucket, this.#root, true, after);
    for await (const item of listing) {
      keys.push(item as ListedKey);
      // Leaving the loop ends the stream.
      if (keys.length === this.#pageSize) break;
    }
    return keys;
  }

  async #abortStaleMultiparts(maxAgeMs: number): Promise<number> {
    const oldest = this.#clock.now().getTime() - maxAgeMs;
    let aborted = 0;
    for await (const upload of this.#client.listIncompleteUploads(this.#bucket, this.#keyPrefix, true)) {
      const { key, uploadId, initiated } = upload as { key: string; uploadId: string; initiated: Date };
      if (new Date(initiated).getTime() > oldest) continue;
      await this.#client.abortMultipartUpload(this.#bucket, key, uploadId);
      aborted++;
    }
    return aborted;
  }

  #keyOf(sha256: string): string {
    assertSha256(sha256);
    return `${this.#keyPrefix}${sha256.slice(0, 2)}/${sha256}`;
  }
}

/** A key of a listing. */
interface ListedKey {
  readonly name: string;
  readonly size: number;
  readonly lastModified: Date;
}

/** Enough to tell a store that is up; one that is down is not waited for. */
const ABORT_TIMEOUT_MS = 5_000;

/** Repeats a request that may be repeated after a broken connection or a 5xx; what the store refuses stays refused. */
function retried<T>(request: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return retry(request, {
    baseMs: 300,
    capMs: 600,
    attempts: 3,
    isWorthRetrying: (error) => !isFinal(error),
    signal,
  });
}

/** What the store said, or would not say. */
function isFinal(error: unknown): boolean {
  return error instanceof S3Error || error instanceof OtaError || error instanceof SilentStore;
}

function isMissing(error: unknown): boolean {
  return error instanceof S3Error && (error.code === "NotFound" || error.code === "NoSuchKey");
}

async function readPart(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) throw new Error("the staged file is shorter than it was");
    filled += bytesRead;
  }
  return bytes;
}
