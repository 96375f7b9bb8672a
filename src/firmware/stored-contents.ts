import { createHash } from "node:crypto";
import { OtaError } from "../errors.ts";
import { Alarm } from "../infra/alarm.ts";
import type { Clock } from "../infra/clock.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { type Cacheable, SecondChanceCache } from "../infra/second-chance-cache.ts";

/** What is asked of the object store. */
export interface ContentStore extends Pick<ObjectStore, "openReader"> {
  /**
   * The object's size, or `undefined` if there is no such object. The etag, if the store can tell, is another after
   * every change of the stored bytes, whoever made it: as an ETag, or the inode and change time of a file.
   */
  stat(
    sha256: string,
    signal?: AbortSignal,
  ): Promise<{ readonly sizeBytes: number; readonly etag?: string | undefined } | undefined>;
}

/** A firmware's content: the digest that it goes by, and its size. */
export interface Content {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** What the bytes in the store turned out to be. */
export type ContentState = "sound" | "missing" | "damaged";

/** How content is read. */
export interface ContentCheckOptions {
  readonly signal: AbortSignal;
  /** As fast as it goes unless given. */
  readonly bytesPerSecond?: number;
}

/**
 * What this replica knows of the contents in the object store: whose bytes were found to have the digest that they go by, and
 * whose not. Neither is believed of bytes that the store says have changed since.
 */
export class StoredContents {
  readonly store: ContentStore;
  readonly #clock: Clock;
  readonly #sound = new SecondChanceCache<Sound>(maxKnown);
  readonly #damaged = new SecondChanceCache<Damaged>(maxKnown);
  readonly #listeners = new Set<(sha256: string) => void>();

  constructor(store: ContentStore, clock: Clock) {
    this.store = store;
    this.#clock = clock;
  }

  /** Tells of content that was found missing or damaged, as often as it was. */
  onDamage(listener: (sha256: string) => void): void {
    this.#listeners.add(listener);
  }

  /** Whether the bytes with that etag had the right digest in the last minutes. */
  isSound(sha256: string, etag: string | undefined): boolean {
    const sound = this.#sound.get(sha256);
    if (sound === undefined || sound.etag !== etag) return false;
    return this.#clock.monotonicMs() - sound.atMs < soundForMs;
  }

  /** Whether the bytes with that etag had a wrong digest. */
  isDamaged(sha256: string, etag: string | undefined): boolean {
    const damaged = this.#damaged.get(sha256);
    // What could not be told apart when it was found is bad until somebody has read all of it and found it right.
    return damaged !== undefined && (damaged.etag === undefined || damaged.etag === etag);
  }

  /** The bytes with that etag have the right digest. */
  noteSound(sha256: string, etag: string | undefined): void {
    this.#damaged.delete(sha256);
    if (etag !== undefined) this.#sound.set(sha256, { etag, atMs: this.#clock.monotonicMs(), used: false });
  }

  /** The bytes with that etag are not what they should be. */
  noteDamaged(sha256: string, etag: string | undefined): void {
    this.#sound.delete(sha256);
    this.#damaged.set(sha256, { etag, used: false });
    for (const listener of this.#listeners) listener(sha256);
  }

  /** Whose bytes were found to have a wrong digest. */
  get damaged(): readonly string[] {
    return this.#damaged.keys();
  }

  /**
   * Another replica found those bytes right, or replaced them, which the etag does not tell if it is a digest of the content
   * and they had rotted below the store.
   */
  forgetDamage(sha256: string): void {
    this.#damaged.delete(sha256);
  }

  /** There are no such bytes, although there should be. */
  noteMissing(sha256: string): void {
    for (const listener of this.#listeners) listener(sha256);
  }

  /**
   * Whether the content is in the store, and right: by what is known of these very bytes, or else by reading them. A size
   * says nothing. Throws STORAGE_UNAVAILABLE while the store is away.
   */
  async has(content: Content, signal: AbortSignal): Promise<boolean> {
    const stored = await this.store.stat(content.sha256, signal);
    if (stored === undefined) return false;
    const { etag } = stored;
    if (this.isSound(content.sha256, etag)) return true;
    // What the store cannot tell apart may be right by now.
    if (etag !== undefined && this.#damaged.peek(content.sha256)?.etag === etag) return false;
    return (await this.check(content, { signal })) === "sound";
  }

  /** Whether the content is known to be bad, without reading it. */
  async isKnownBad(sha256: string, signal: AbortSignal): Promise<boolean> {
    const stored = await this.store.stat(sha256, signal);
    return stored === undefined || this.isDamaged(sha256, stored.etag);
  }

  /** Reads the content and computes its digest. Throws STORAGE_UNAVAILABLE while the store is away. */
  async check(content: Content, options: ContentCheckOptions): Promise<ContentState> {
    const { sha256, sizeBytes } = content;
    const { signal } = options;
    const before = await this.store.stat(sha256, signal);
    if (before === undefined) return "missing";
    const isSound = before.sizeBytes === sizeBytes && (await this.#digest(content, options)) === sha256;
    const after = await this.store.stat(sha256, signal);
    // Somebody has put it anew meanwhile.
    if (!isSound && after?.etag !== before.etag) return await this.check(content, options);
    const etag = after?.etag === before.etag ? before.etag : undefined;
    if (isSound) this.noteSound(sha256, etag);
    else this.noteDamaged(sha256, etag);
    return isSound ? "sound" : "damaged";
  }

  /** The digest of the bytes; undefined if the disk cannot give them, or they are gone. */
  async #digest(
    { sha256, sizeBytes }: Content,
    { signal, bytesPerSecond = Number.POSITIVE_INFINITY }: ContentCheckOptions,
  ): Promise<string | undefined> {
    const hash = createHash("sha256");
    const memory = Buffer.allocUnsafe(readBytes);
    const pause = new Alarm();
    const startedMs = this.#clock.monotonicMs();
    try {
      const reader = await this.store.openReader(sha256, { offset: 0, length: sizeBytes, signal });
      try {
        for (let read = 0; read < sizeBytes; ) {
          const length = await reader.fill(memory);
          if (length === 0) return undefined;
          hash.update(memory.subarray(0, length));
          read += length;
          const aheadMs = (read / bytesPerSecond) * 1_000 - (this.#clock.monotonicMs() - startedMs);
          if (aheadMs > 0) await pause.wait(aheadMs, signal);
          signal.throwIfAborted();
        }
      } finally {
        await reader.close();
      }
    } catch (error) {
      signal.throwIfAborted();
      if (isUnreadable(error)) return undefined;
      throw error;
    }
    return hash.digest("hex");
  }
}

/** That a content's digest was right. */
interface Sound extends Cacheable {
  /** What the store said of the bytes then. */
  readonly etag: string;
  /** When, in monotonic milliseconds. */
  readonly atMs: number;
}

/** That a content's digest was wrong. */
interface Damaged extends Cacheable {
  /** What the store said of the bytes then, if it could tell. */
  readonly etag: string | undefined;
}

/**
 * How long content whose digest was right is trusted while its etag stays the same. Hashing costs as much as
 * sending, and a fleet downloads the same content thousands of times; the time bounds how long bytes that rotted below
 * the store, where no etag tells of it, go unnoticed here. Devices check in any case.
 */
const soundForMs = 10 * 60_000;

/** Contents of which something is remembered: more than are on their way to devices at once. */
const maxKnown = 1_000;

const readBytes = 256 * 1024;

/** The object is gone, or a sector of the disk: what another try will not mend. */
function isUnreadable(error: unknown): boolean {
  if (!(error instanceof OtaError)) return false;
  return error.reason === "NOT_FOUND" || (error.cause as { code?: unknown } | undefined)?.code === "EIO";
}
