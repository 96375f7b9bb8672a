import type { Readable } from "node:stream";
import type { ReadOptions } from "./byte-range.ts";
import type { ObjectReader } from "./object-reader.ts";

/** What identifies the bytes of an object: its address and its length. */
export interface ObjectInfo {
  /** SHA-256 of the bytes, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** How an object is put. */
export interface PutOptions {
  /** More bytes than this are refused with `SIZE_MISMATCH` as soon as they arrive. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** What the bytes must turn out to be; anything else is refused and leaves nothing behind. */
  readonly expected?: ObjectInfo | undefined;
}

/** What a store knows of an object without reading it. */
export interface StoredObject {
  readonly sizeBytes: number;
  /**
   * Another text after any write to the stored bytes that the store can see, so that one who checked the bytes need not
   * check them again. `undefined` where the store cannot tell.
   */
  readonly etag: string | undefined;
}

/** What a listing says of something in the store. */
export interface ListedObject {
  /** Its address; undefined for what is none of the store's objects, and was put there by others. */
  readonly sha256: string | undefined;
  readonly sizeBytes: number;
  /** When it was put last, by the store's clock. */
  readonly modifiedAt: Date;
}

/**
 * Immutable objects, addressed by the SHA-256 of their bytes.
 *
 * An object is visible whole or not at all, and durable once `put` or `finish` has returned. The same bytes may be put
 * any number of times, also at once. Failures of the store itself are `UNAVAILABLE` with `STORAGE_UNAVAILABLE`, a full
 * disk is `RESOURCE_EXHAUSTED` with `STORAGE_FULL`; both say nothing about the bytes or about a device. An aborted
 * signal throws its reason.
 */
export interface ObjectStore extends AsyncDisposable {
  /** Stores all bytes of `source`. Reads one chunk at a time; nothing is left behind if it fails. */
  put(source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo>;

  /**
   * Opens the upload of that name where it was left, or begins it. Names are 1 to 128 letters, digits, `-` and `_`.
   * Opening it again takes it away from the older handle, whose next call fails with `STREAM_SUPERSEDED`: a client
   * whose connection broke comes back before the server has noticed the break.
   */
  openUpload(uploadId: string, options: UploadOptions): Promise<ObjectUpload>;

  /** What the store knows of an object without reading it, or `undefined` if there is no such object. */
  stat(sha256: string, signal?: AbortSignal): Promise<StoredObject | undefined>;

  /**
   * A stream of exactly the bytes asked for; it fails rather than end short. `NOT_FOUND` if there is no such object. The
   * reader must consume or destroy it.
   */
  read(sha256: string, options?: ReadOptions): Promise<Readable>;

  /** The same bytes, read into the caller's memory. What is no range or no object may be refused as late as the first read. */
  openReader(sha256: string, options?: ReadOptions): Promise<ObjectReader>;

  /**
   * All that is in the store, page by page, without uploads in progress and the store's own probe. What is put or removed meanwhile may be
   * listed or not.
   */
  list(signal?: AbortSignal): AsyncIterable<readonly ListedObject[]>;

  /** Removes the object; no error if there is none. Streams that are being read may still end. */
  delete(sha256: string, signal?: AbortSignal): Promise<void>;

  /** Writes something small and removes it; throws unless that works at this moment. For readiness. */
  check(signal?: AbortSignal): Promise<void>;

  /** A URL that anybody can GET the object from, with ranges, for that time (1 s to 7 days), or `undefined`. */
  presignedUrl(sha256: string, ttlSeconds: number): Promise<string | undefined>;

  /** Removes the remains of uploads that nobody has touched for `maxAgeMs`, and returns how many there were. */
  collectStale(maxAgeMs: number, signal?: AbortSignal): Promise<number>;

  /** Closes open uploads, which stay resumable, and connections. Idempotent. */
  close(): Promise<void>;
}

/** Bounds of one upload. */
export interface UploadOptions {
  /** More bytes than this are refused with `SIZE_MISMATCH` as soon as they arrive. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** An upload in progress. One caller at a time. Disposing it closes it and keeps its bytes. */
export interface ObjectUpload extends AsyncDisposable {
  /** Bytes that are on disk and survive a crash of the service and of the machine: where a broken upload goes on. */
  readonly committedBytes: number;

  /** Bytes received, and with that the offset that the next chunk must have. */
  readonly receivedBytes: number;

  /** Adds a chunk. `UPLOAD_OFFSET_MISMATCH` (metadata `expected_offset`) if it is not the next one. */
  append(offset: number, chunk: Uint8Array): Promise<void>;

  /** Writes everything through to the disk and returns the new `committedBytes`. */
  commit(): Promise<number>;

  /**
   * Publishes the object, or refuses it: `UPLOAD_INCOMPLETE` while bytes are missing (the upload goes on), or
   * `SIZE_MISMATCH` or `DIGEST_MISMATCH` (the upload is thrown away, for the bytes will not get better). If the store
   * is away, the upload is kept and `finish` can be tried again.
   */
  finish(expected?: ObjectInfo, signal?: AbortSignal): Promise<ObjectInfo>;

  /** Throws the upload and its bytes away. Idempotent. */
  abort(): Promise<void>;

  /** Writes through, and leaves the upload to be opened again. Idempotent. */
  close(): Promise<void>;
}
