import { Readable } from "node:stream";
import { OtaError } from "../../errors.ts";
import { storageError, storageUnavailable } from "./storage-errors.ts";

/** Which bytes of an object are read. */
export interface ReadOptions {
  /** First byte, 0 unless given. The object's size is allowed and reads nothing; more is `OFFSET_OUT_OF_RANGE`. */
  readonly offset?: number | undefined;
  /** Number of bytes; to the end unless given, and cut at the end if it reaches past it. */
  readonly length?: number | undefined;
  /** What `stat` said of the object a moment ago: a store that has those very bytes open need not look again. */
  readonly etag?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A part of an object, wholly inside it. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Cuts a wanted range at the object's end. `OFFSET_OUT_OF_RANGE` if it begins behind it or is no range at all. */
export function resolveRange(options: ReadOptions, sizeBytes: number): ByteRange {
  const offset = options.offset ?? 0;
  const length = options.length ?? Number.POSITIVE_INFINITY;
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > sizeBytes || !(length >= 0)) {
    throw new OtaError(
      "out_of_range",
      "OFFSET_OUT_OF_RANGE",
      `the range begins at byte ${offset}, but the object has ${sizeBytes} bytes`,
      { metadata: { offset: String(offset), size_bytes: String(sizeBytes) } },
    );
  }
  return { offset, length: Math.min(Math.floor(length), sizeBytes - offset) };
}

/**
 * Bytes read at a time: a read costs half as much a byte as one of 256 KiB, and a thousand downloads that read ahead by
 * one still fit a GiB.
 */
export const READ_CHUNK_BYTES = 512 * 1024;

/**
 * `source` as a stream of exactly `length` bytes. It fails if the source ends early (a file cut by hand, a connection
 * that a proxy closed) and stops a source that does not end. The source's own errors become storage
 * errors, unless the signal that it was opened with has aborted: then that one's reason is thrown.
 */
export function exactly(source: Readable, length: number, signal?: AbortSignal): Readable {
  return Readable.from(checked(source, length, signal), {
    objectMode: false,
    highWaterMark: READ_CHUNK_BYTES,
  });
}

async function* checked(
  source: Readable,
  length: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let received = 0;
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received > length) throw storageUnavailable("read", new Error(`more than ${length} bytes came`));
      yield chunk;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw storageError("read", error);
  }
  if (received < length) {
    throw storageUnavailable("read", new Error(`${received} of ${length} bytes came`));
  }
}
