import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { CliError, exitCodes } from "./failure.ts";

/** What a firmware record declares of its content. */
export interface FileDigest {
  /** SHA-256, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Reads a file once, in constant memory. An empty file is refused: there is nothing to install. */
export async function digestFile(path: string, signal: AbortSignal): Promise<FileDigest> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of createReadStream(path, {
    highWaterMark: READ_SIZE_BYTES,
    signal,
  }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  if (sizeBytes === 0) throw new CliError(exitCodes.usage, `${path} is empty`);
  return { sha256: hash.digest("hex"), sizeBytes };
}

/** Large enough that hashing, not reading, takes the time. */
const READ_SIZE_BYTES = 1024 * 1024;
