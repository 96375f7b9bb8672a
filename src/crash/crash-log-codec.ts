import { promisify } from "node:util";
import { zstdCompress, zstdDecompress } from "node:zlib";

/** The most bytes of a crash log, uncompressed. */
export const maxCrashLogBytes = 1024 * 1024;

/**
 * Compresses a log (Zstandard) behind the log's id. With the id in it no other object, be it a log or firmware, has the same
 * bytes, and so the same address in the store: whoever removes the log removes nothing else.
 */
export async function encodeCrashLog(id: string, content: Uint8Array): Promise<Buffer> {
  return Buffer.concat([Buffer.from(`${id}\n`, "latin1"), await compress(content)]);
}

/** The log in a stored object. Throws if it is none, or larger than a log may be. */
export async function decodeCrashLog(object: Uint8Array): Promise<Buffer> {
  return await decompress(object.subarray(headBytes), { maxOutputLength: maxCrashLogBytes });
}

/** The most bytes of a stored object: what does not compress grows by a little. */
export const maxObjectBytes = maxCrashLogBytes + 16 * 1024;

/** An id and a line feed. */
const headBytes = 37;

const compress = promisify(zstdCompress);
const decompress = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(zstdDecompress);
