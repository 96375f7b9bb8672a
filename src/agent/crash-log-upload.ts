import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import type { RpcClient } from "../client/rpc-client.ts";

/**
 * Uploads a crash log and returns its id, to be put into `crashLogId` of the error that is reported next. Of a log beyond 1
 * MiB the end is sent, which is where the crash is. Throws the service's error if it refuses.
 */
export async function uploadCrashLog(
  client: RpcClient,
  log: string | Uint8Array,
  signal: AbortSignal,
): Promise<string> {
  const whole = typeof log === "string" ? Buffer.from(log) : log;
  const { crashLog } = await client.clientStream(
    ErrorService.method.uploadCrashLog,
    chunksOf(whole.subarray(Math.max(0, whole.length - maxLogBytes))),
    { signal, timeoutMs: uploadTimeoutMs },
  );
  return crashLog?.id ?? "";
}

/** The service takes no more. */
const maxLogBytes = 1024 * 1024;

/** A little more than the service gives a log to arrive, so that its answer gets through. */
const uploadTimeoutMs = 65_000;

const chunkBytes = 64 * 1024;

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<{ data: Uint8Array<ArrayBuffer> }> {
  for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
    yield { data: new Uint8Array(bytes.subarray(offset, offset + chunkBytes)) };
  }
}
