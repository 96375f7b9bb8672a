import type { BigIntStats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Clock } from "../clock.ts";

/** A file that readers share, each at its own place. */
export interface OpenFile {
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  /** Ends one reader's use; `spoilt` if a read failed, so that nobody else tries the same handle. */
  release(spoilt: boolean): Promise<void>;
}

/**
 * Files that are being read, or were a moment ago: a fleet reads the same few files in small ranges, and opening, looking and
 * closing cost more than a range's bytes. What is shared are the very bytes that the reader asks for, known by their etag.
 */
export class OpenFiles {
  readonly #etagOf: (found: BigIntStats) => string | undefined;
  readonly #clock: Clock;
  /** By path, the one that was used last at the end. */
  readonly #kept = new Map<string, SharedFile>();
  #closed = false;

  constructor(etagOf: (found: BigIntStats) => string | undefined, clock: Clock) {
    this.#etagOf = etagOf;
    this.#clock = clock;
  }

  /** Opens a file, or shares one that is open if it has that etag. Throws what the file system throws. */
  async open(path: string, etag: string | undefined): Promise<OpenFile> {
    await this.closeIdle(this.#clock.monotonicMs() - idleMs);
    const kept = this.#kept.get(path);
    if (kept !== undefined && etag !== undefined && kept.etag === etag) {
      kept.users++;
      this.#kept.delete(path);
      this.#kept.set(path, kept);
      return this.#lease(path, kept);
    }
    const file = await this.#opened(path);
    if (file.etag !== undefined && !this.#closed) await this.#keep(path, file);
    return this.#lease(path, file);
  }

  /** Closes what nobody has read since then. */
  async closeIdle(sinceMs = Number.POSITIVE_INFINITY): Promise<void> {
    for (const [path, file] of this.#kept)
      if (file.users === 0 && file.usedMs < sinceMs) await this.drop(path);
  }

  /** Keeps a file no longer than its readers do: it is gone, or about to be. */
  async drop(path: string): Promise<void> {
    const file = this.#kept.get(path);
    if (file === undefined) return;
    this.#kept.delete(path);
    if (file.users === 0) await file.handle.close();
  }

  /** Keeps nothing from now on. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const path of this.#kept.keys()) await this.drop(path);
  }

  async #keep(path: string, file: SharedFile): Promise<void> {
    const [longestUnused] = this.#kept.keys();
    const given = [path, ...(this.#kept.size >= maxKept ? [longestUnused] : [])];
    const before = given.map((name) => this.#kept.get(name ?? ""));
    for (const name of given) this.#kept.delete(name ?? "");
    this.#kept.set(path, file);
    for (const each of before) if (each?.users === 0) await each.handle.close();
  }

  /** With its first user, so that nobody closes it before that one reads. */
  async #opened(path: string): Promise<SharedFile> {
    const handle = await open(path, "r");
    try {
      const found = await handle.stat({ bigint: true });
      return { handle, sizeBytes: Number(found.size), etag: this.#etagOf(found), users: 1, usedMs: 0 };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** One user's right to a file; it counts as a user already. */
  #lease(path: string, file: SharedFile): OpenFile {
    let isReleased = false;
    return {
      handle: file.handle,
      sizeBytes: file.sizeBytes,
      release: async (spoilt) => {
        if (isReleased) return;
        isReleased = true;
        file.users--;
        file.usedMs = this.#clock.monotonicMs();
        const isKept = this.#kept.get(path) === file;
        if (isKept && spoilt) await this.drop(path);
        else if (!isKept && file.users === 0) await file.handle.close();
      },
    };
  }
}

interface SharedFile {
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  /** What it was when it was opened; undefined if it cannot be told from a later one. */
  readonly etag: string | undefined;
  users: number;
  /** When its last reader ended. */
  usedMs: number;
}

/**
 * How long a file may stay open that nobody reads, in milliseconds, for as long as others are opened: one that another process
 * deletes takes its room on the disk until it is closed.
 */
const idleMs = 5_000;

/** More files than are on their way to devices at once. */
const maxKept = 32;
