import type { ObjectStore } from "../infra/objects/object-store.ts";

/** Where a content can be fetched without the service. */
export interface DirectUrl {
  /** All the right that is needed; shown to nobody but the device, and not logged. */
  readonly url: string;
  /** For how long a fetch may begin. */
  readonly lifetimeMs: number;
}

/**
 * URLs of contents at the object store, or at what stands before it for devices. What is fetched there never passes the service, which
 * so neither checks its digest nor counts its bytes: devices check it in any case.
 */
export class DirectUrls {
  readonly #store: Pick<ObjectStore, "presignedUrl">;
  readonly #lifetimeSeconds: number;

  constructor(store: Pick<ObjectStore, "presignedUrl">, lifetimeSeconds: number) {
    this.#store = store;
    this.#lifetimeSeconds = lifetimeSeconds;
  }

  /** A new URL of that content, which need not exist; undefined where the store has none. `STORAGE_UNAVAILABLE`. */
  async of(sha256: string): Promise<DirectUrl | undefined> {
    const url = await this.#store.presignedUrl(sha256, this.#lifetimeSeconds);
    return url === undefined ? undefined : { url, lifetimeMs: this.#lifetimeSeconds * 1_000 };
  }
}
