import { open } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { crc32c } from "@node-rs/crc32";
import type { Firmware } from "../../gen/ota/v1/firmware_pb.js";
import { FirmwareService, type UploadFirmwareRequestSchema } from "../../gen/ota/v1/firmware_service_pb.js";
import { ClientError } from "../client/client-error.ts";
import type { RpcClient } from "../client/rpc-client.ts";
import { retry } from "../infra/back-off.ts";
import { CliError, exitCodes } from "./failure.ts";

/** The most content that the contract allows in one message. */
const chunkBytes = 256 * 1024;

/** How often a broken upload is resumed before the user is told; the user may start it again, and it resumes too. */
const maxAttempts = 5;

/** The longest wait before the first resume; it doubles with each one after it. */
const firstRetryMs = 500;
const maxRetryMs = 8_000;

/** What to upload, and whom to tell. */
export interface Upload {
  readonly rpc: RpcClient;
  readonly firmwareId: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
  /** Told how many bytes have been handed to the transport, from where the upload (re)started. */
  readonly onProgress: (sentBytes: number) => void;
}

/**
 * Uploads the content of a firmware and returns the verified firmware. What the service has already, from an earlier try,
 * is not sent again; a connection that breaks is taken up again where the service stands.
 */
export function uploadFirmware(upload: Upload): Promise<Firmware> {
  return retry(() => uploadRest(upload), {
    baseMs: firstRetryMs,
    capMs: maxRetryMs,
    attempts: maxAttempts,
    isWorthRetrying: (error) => error instanceof ClientError && error.transient,
    atLeastMs: (error) => (error instanceof ClientError ? error.retryAfterMs : undefined),
    signal: upload.signal,
  });
}

async function uploadRest(upload: Upload): Promise<Firmware> {
  const { rpc, firmwareId: id, signal } = upload;
  const { committedBytes } = await rpc.unary(FirmwareService.method.getFirmwareUpload, { id }, { signal });
  const answer = await rpc.clientStream(
    FirmwareService.method.uploadFirmware,
    chunks(upload, Number(committedBytes)),
    {
      signal,
    },
  );
  if (answer.firmware === undefined) {
    throw new CliError(
      exitCodes.failure,
      `the service has ${answer.committedBytes} of ${upload.sizeBytes} bytes`,
    );
  }
  return answer.firmware;
}

/** The content from an offset on. At the end already: one empty message that finishes the upload. */
async function* chunks(
  upload: Upload,
  start: number,
): AsyncGenerator<MessageInitShape<typeof UploadFirmwareRequestSchema>> {
  const { sizeBytes, onProgress } = upload;
  await using file = await open(upload.path, "r");
  onProgress(start);
  let offset = start;
  do {
    // A fresh buffer for each message: the transport may still hold the one before.
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, offset);
    const data = buffer.subarray(0, bytesRead);
    if (bytesRead === 0 && offset < sizeBytes) {
      throw new CliError(exitCodes.usage, `${upload.path} became shorter while it was uploaded`);
    }
    yield {
      id: upload.firmwareId,
      offset: BigInt(offset),
      data,
      crc32c: crc32c(data),
      finish: offset + bytesRead >= sizeBytes,
    };
    offset += bytesRead;
    onProgress(offset);
  } while (offset < sizeBytes);
}
