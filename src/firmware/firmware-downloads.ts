import { createHash } from "node:crypto";
import { OtaError } from "../errors.ts";
import type { ObjectReader } from "../infra/objects/object-reader.ts";
import { type Piece, PiecePool } from "./download-piece.ts";
import type { ContentStore, StoredContents } from "./stored-contents.ts";

/** Which bytes of a firmware's content are wanted. */
export interface DownloadOptions {
  /** First byte, 0 unless given; the size is allowed and gives nothing. */
  readonly offset?: number | undefined;
  /** The most bytes; to the end if it is absent or 0. */
  readonly limit?: number | undefined;
  /** The size that the catalogue has on record, if known: content of another size is damaged. */
  readonly sizeBytes?: number | undefined;
  readonly signal: AbortSignal;
}

/** An opened download. Nothing is held until `chunks` is iterated, and everything is let go when that ends. */
export interface Download {
  /** Size of the whole content. */
  readonly sizeBytes: number;
  /** First byte that follows. */
  readonly offset: number;
  /** How many bytes follow. */
  readonly length: number;
  /** The bytes, in pieces of up to {@link downloadChunkBytes}. May be iterated once. Whoever is done with a piece may release it. */
  readonly pieces: AsyncIterable<Piece>;
  /** The same of another part of the content, which must lie inside it: what was found in the store is not looked for again. */
  read(offset: number, length: number): AsyncIterable<Piece>;
}

/**
 * Bytes in one piece of a download: the largest that the contract allows. In larger messages the cost of a message
 * is small beside that of its bytes, and a thousand downloads still hold only some hundred MiB.
 */
export const downloadChunkBytes = 256 * 1024;

/** Reads firmware content from the object store. */
export class FirmwareDownloads {
  readonly #contents: StoredContents;
  readonly #store: ContentStore;
  readonly #pool = new PiecePool(downloadChunkBytes);

  constructor(contents: StoredContents) {
    this.#contents = contents;
    this.#store = contents.store;
  }

  /**
   * Opens the content with that SHA-256. `OFFSET_OUT_OF_RANGE` if it begins behind the end. When the whole content is
   * read, its digest is computed again on the way, unless that was done for the same etag in the last minutes, and
   * the last piece is handed out only if it is right: damage or tampering in the store ends the download with
   * `STORED_OBJECT_CORRUPT` before a device has all of it. A part cannot be judged so; whoever puts parts together
   * checks the whole. Of what is known to be damaged, nothing is served. Content that is gone or has another size is `STORED_OBJECT_CORRUPT` too, and a store that is away
   * `STORAGE_UNAVAILABLE`: neither is the device's fault.
   */
  async open(sha256: string, options: DownloadOptions): Promise<Download> {
    const { offset = 0, limit = 0, signal } = options;
    const stored = await this.#store.stat(sha256, signal);
    if (stored === undefined) throw this.#missing(sha256);
    const { sizeBytes, etag } = stored;
    if (sizeBytes !== (options.sizeBytes ?? sizeBytes)) throw this.#damaged(sha256, etag, "of another size");
    if (this.#contents.isDamaged(sha256, etag)) throw corrupt(sha256, "damaged");
    // Written so that NaN is out of range as well.
    if (!(offset >= 0 && offset <= sizeBytes)) throw offsetOutOfRange(offset, sizeBytes);
    const length = Math.min(limit === 0 ? sizeBytes : limit, sizeBytes - offset);
    const read = (from: number, bytes: number): AsyncIterable<Piece> => {
      const pieces = this.#read(sha256, { offset: from, length: bytes, etag, signal });
      return bytes === sizeBytes ? this.#checked(pieces, sha256, etag, signal) : pieces;
    };
    return { sizeBytes, offset, length, pieces: read(offset, length), read };
  }

  /** The same pieces, one behind: the last one leaves when all are known to be right. */
  async *#checked(
    source: AsyncIterable<Piece>,
    sha256: string,
    etag: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Piece> {
    const hash = this.#contents.isSound(sha256, etag) ? undefined : createHash("sha256");
    let held: Piece | undefined;
    for await (const piece of source) {
      if (held !== undefined) yield held;
      hash?.update(piece.data);
      held = piece;
    }
    if (hash !== undefined && hash.digest("hex") !== sha256) throw this.#damaged(sha256, etag, "damaged");
    if (etag !== undefined) {
      const unchanged = (await this.#store.stat(sha256, signal))?.etag === etag;
      if (unchanged && hash !== undefined) this.#contents.noteSound(sha256, etag);
      if (!unchanged && hash === undefined) throw changedMeanwhile(sha256);
    }
    if (held !== undefined) yield held;
  }

  #missing(sha256: string): OtaError {
    this.#contents.noteMissing(sha256);
    return corrupt(sha256, "missing");
  }

  #damaged(sha256: string, etag: string | undefined, how: string): OtaError {
    this.#contents.noteDamaged(sha256, etag);
    return corrupt(sha256, how);
  }

  /** Reads one piece ahead, while the reader is busy with the one before. */
  async *#read(sha256: string, part: Part): AsyncGenerator<Piece> {
    const { length, signal } = part;
    if (length === 0) return;
    const reader = await this.#open(sha256, part);
    let ahead = this.#pool.fill((memory) => reader.fill(memory));
    try {
      for (let left = length; left > 0; ) {
        const piece = await ahead;
        left -= piece.data.length;
        if (left > 0) {
          ahead = this.#pool.fill((memory) => reader.fill(memory));
          // Whoever stops before it is awaited does not care that it failed.
          ahead.catch(() => undefined);
        }
        yield piece;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      await reader.close();
    }
  }

  async #open(sha256: string, part: Part): Promise<ObjectReader> {
    try {
      return await this.#store.openReader(sha256, part);
    } catch (error) {
      part.signal.throwIfAborted();
      // The object was there a moment ago.
      if (error instanceof OtaError && error.reason === "NOT_FOUND") throw this.#missing(sha256);
      throw error;
    }
  }
}

/** A part of a content, of the bytes with that etag. */
interface Part {
  readonly offset: number;
  readonly length: number;
  readonly etag: string | undefined;
  readonly signal: AbortSignal;
}

function offsetOutOfRange(offset: number, sizeBytes: number): OtaError {
  return new OtaError(
    "out_of_range",
    "OFFSET_OUT_OF_RANGE",
    `offset ${offset} lies past the end of the content, which has ${sizeBytes} bytes`,
    { metadata: { offset: String(offset), size_bytes: String(sizeBytes) } },
  );
}

/** Perhaps only stored anew, with the same bytes: the next try computes the digest. */
function changedMeanwhile(sha256: string): OtaError {
  return new OtaError(
    "unavailable",
    "STORAGE_UNAVAILABLE",
    `the stored content ${sha256} changed while it was read; try again`,
    { metadata: { sha256 } },
  );
}

function corrupt(sha256: string, how: string): OtaError {
  return new OtaError(
    "data_loss",
    "STORED_OBJECT_CORRUPT",
    `the stored content ${sha256} is ${how}; an operator has to upload it again`,
    { metadata: { sha256 } },
  );
}
