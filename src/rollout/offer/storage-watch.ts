import { OtaError } from "../../errors.ts";
import type { Piece } from "../../firmware/download-piece.ts";
import type { Download, DownloadOptions, FirmwareDownloads } from "../../firmware/firmware-downloads.ts";
import type { Clock } from "../../infra/clock.ts";
import type { OutageLog } from "../proof/outage-log.ts";

/** What a {@link StorageWatch} is made of. */
interface StorageWatchParts {
  readonly downloads: Pick<FirmwareDownloads, "open">;
  readonly outages: OutageLog;
  readonly clock: Clock;
}

/** Content in the object store. */
interface StoredContent {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/**
 * Notes in the idempotency when our object store could not give what devices asked of it, whether it was away or the content
 * in it gone or damaged: neither is a device's failure.
 */
export class StorageWatch {
  readonly #parts: StorageWatchParts;
  /** Looks that are under way, by content: a thousand devices that fail at once share one. */
  readonly #looks = new Map<string, Promise<void>>();

  constructor(parts: StorageWatchParts) {
    this.#parts = parts;
  }

  /** Opens a download; throws what {@link FirmwareDownloads.open} throws. */
  async open(
    { sha256, sizeBytes }: StoredContent,
    options: Omit<DownloadOptions, "sizeBytes">,
  ): Promise<Download> {
    const { downloads, outages, clock } = this.#parts;
    try {
      const download = await downloads.open(sha256, { ...options, sizeBytes });
      outages.worked("object_store", clock.now().getTime());
      const read = (offset: number, length: number) => this.#watched(download.read(offset, length));
      return { ...download, pieces: this.#watched(download.pieces), read };
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  /**
   * Looks whether the content is there, for a device that failed before it had it: it may have asked another replica, whose
   * idempotency is not this one's. Never throws.
   */
  look(content: StoredContent): Promise<void> {
    const under = this.#looks.get(content.sha256);
    if (under !== undefined) return under;
    const look = this.#look(content).finally(() => this.#looks.delete(content.sha256));
    this.#looks.set(content.sha256, look);
    return look;
  }

  /** A device asked for content that we know to be damaged, and was told to wait. */
  couldNotGive(): void {
    this.#failed();
  }

  async #look({ sha256, sizeBytes }: StoredContent): Promise<void> {
    try {
      const signal = AbortSignal.timeout(lookTimeoutMs);
      // From the end on there is nothing to read.
      await this.#parts.downloads.open(sha256, { offset: sizeBytes, sizeBytes, signal });
    } catch (error) {
      if (error instanceof OtaError) this.#note(error);
      else this.#failed();
    }
  }

  async *#watched(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
    try {
      yield* pieces;
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  #note(error: unknown): void {
    if (error instanceof OtaError && ourFault.has(error.reason)) this.#failed();
  }

  #failed(): void {
    this.#parts.outages.failed("object_store", this.#parts.clock.now().getTime());
  }
}

const ourFault: ReadonlySet<string> = new Set(["STORAGE_UNAVAILABLE", "STORED_OBJECT_CORRUPT"]);

/** A store that says nothing for so long gives devices nothing either. */
const lookTimeoutMs = 5_000;
