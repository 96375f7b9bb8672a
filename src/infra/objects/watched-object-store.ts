import type { Readable } from "node:stream";
import type { ReadOptions } from "./byte-range.ts";
import type { ObjectReader } from "./object-reader.ts";
import type {
  ListedObject,
  ObjectInfo,
  ObjectStore,
  ObjectUpload,
  PutOptions,
  StoredObject,
  UploadOptions,
} from "./object-store.ts";

/** Runs each call of a store, by the name of its operation, and sees how it ends. It hands on what the call does. */
export type StoreWatch = <T>(operation: string, call: () => Promise<T>) => Promise<T>;

/**
 * An object store whose calls are watched: how long they take, and how they end. Of reads it is the time until the first byte can
 * be read. Chunks of uploads only go to the disk of this machine and are not watched, their end is.
 */
export class WatchedObjectStore implements ObjectStore {
  readonly #store: ObjectStore;
  readonly #watch: StoreWatch;

  constructor(store: ObjectStore, watch: StoreWatch) {
    this.#store = store;
    this.#watch = watch;
  }

  put(source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo> {
    return this.#watch("put", () => this.#store.put(source, options));
  }

  async openUpload(uploadId: string, options: UploadOptions): Promise<ObjectUpload> {
    const upload = await this.#watch("open_upload", () => this.#store.openUpload(uploadId, options));
    const finish = upload.finish.bind(upload);
    upload.finish = (expected, signal) => this.#watch("finish_upload", () => finish(expected, signal));
    return upload;
  }

  stat(sha256: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
    return this.#watch("stat", () => this.#store.stat(sha256, signal));
  }

  read(sha256: string, options?: ReadOptions): Promise<Readable> {
    return this.#watch("read", () => this.#store.read(sha256, options));
  }

  openReader(sha256: string, options?: ReadOptions): Promise<ObjectReader> {
    return this.#watch("read", () => this.#store.openReader(sha256, options));
  }

  list(signal?: AbortSignal): AsyncIterable<readonly ListedObject[]> {
    return this.#store.list(signal);
  }

  delete(sha256: string, signal?: AbortSignal): Promise<void> {
    return this.#watch("delete", () => this.#store.delete(sha256, signal));
  }

  check(signal?: AbortSignal): Promise<void> {
    return this.#watch("check", () => this.#store.check(signal));
  }

  presignedUrl(sha256: string, ttlSeconds: number): Promise<string | undefined> {
    return this.#watch("presign", () => this.#store.presignedUrl(sha256, ttlSeconds));
  }

  collectStale(maxAgeMs: number, signal?: AbortSignal): Promise<number> {
    return this.#watch("collect_stale", () => this.#store.collectStale(maxAgeMs, signal));
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
