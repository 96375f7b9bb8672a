import type { Readable } from "node:stream";
import type { ByteRange } from "./byte-range.ts";
import type { OpenFile } from "./open-files.ts";
import { storageError, storageUnavailable } from "./storage-errors.ts";

/**
 * Reads a part of an object into the caller's memory, so that reading allocates nothing. One `fill` at a time. Whoever
 * opened it closes it.
 */
export interface ObjectReader {
  /**
   * Fills the memory, or as much of it as there are bytes left, and returns how many were written; 0 when all were read. It
   * fails rather than end short.
   */
  fill(memory: Buffer): Promise<number>;
  /** Lets go of the object, after a `fill` that is under way. Idempotent. */
  close(): Promise<void>;
}

/** Reads a part of a file, which it lets go of at the end. */
export class FileReader implements ObjectReader {
  readonly #file: OpenFile;
  readonly #signal: AbortSignal | undefined;
  readonly #end: number;
  #position: number;
  #spoilt = false;

  constructor(file: OpenFile, { offset, length }: ByteRange, signal: AbortSignal | undefined) {
    this.#file = file;
    this.#signal = signal;
    this.#position = offset;
    this.#end = offset + length;
  }

  async fill(memory: Buffer): Promise<number> {
    const wanted = Math.min(memory.length, this.#end - this.#position);
    let filled = 0;
    while (filled < wanted) {
      this.#signal?.throwIfAborted();
      const { bytesRead } = await this.#file.handle
        .read(memory, filled, wanted - filled, this.#position)
        .catch((error: unknown) => {
          this.#spoilt = true;
          throw storageError("read", error);
        });
      if (bytesRead === 0) {
        this.#spoilt = true;
        throw storageUnavailable(
          "read",
          new Error(`the file ends ${this.#end - this.#position} bytes early`),
        );
      }
      filled += bytesRead;
      this.#position += bytesRead;
    }
    return filled;
  }

  close(): Promise<void> {
    return this.#file.release(this.#spoilt);
  }
}

/** Copies from a stream, for stores that have nothing else. */
export class StreamReader implements ObjectReader {
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: Readable) {
    this.#stream = stream;
    this.#chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  async fill(memory: Buffer): Promise<number> {
    let filled = 0;
    while (filled < memory.length) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) break;
        this.#rest = next.value;
      }
      const copied = this.#rest.copy(memory, filled);
      this.#rest = this.#rest.subarray(copied);
      filled += copied;
    }
    return filled;
  }

  async close(): Promise<void> {
    this.#stream.destroy();
  }
}
