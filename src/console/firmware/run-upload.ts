import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { backOffMs } from "../data/back-off.ts";
import { pause } from "../data/pause.ts";
import { uploadInChunks } from "./upload-loop.ts";

/**
 * Uploads a file as a firmware's content. `progress` hears of the bytes that the service has, and undefined while the
 * connection is broken.
 */
export async function runUpload(
  transport: Transport,
  firmwareId: string,
  file: Blob,
  signal: AbortSignal,
  progress: (committed: number | undefined) => void,
): Promise<void> {
  const client = createClient(FirmwareService, transport);
  await uploadInChunks({
    content: file,
    signal,
    progress,
    isPassing,
    pause: (failures, stop) => pause(backOffMs(failures, Math.random()), stop),
    target: {
      committed: async (stop) => {
        const answer = await client.getFirmwareUpload({ id: firmwareId }, { signal: stop });
        return Number(answer.committedBytes);
      },
      send: async (data, offset, finish, stop) => {
        const request = { id: firmwareId, offset: BigInt(offset), data, finish };
        const answer = await client.uploadFirmwareChunk(request, { signal: stop });
        return Number(answer.committedBytes);
      },
    },
  });
}

/** The connection broke, the service restarts, or another tab was quicker: the next try asks where to go on. */
function isPassing(thrown: unknown): boolean {
  const error = ConnectError.from(thrown);
  if (error.findDetails(ErrorInfoSchema).some(({ reason }) => reason === "UPLOAD_OFFSET_MISMATCH"))
    return true;
  return passing.has(error.code);
}

const passing = new Set([
  Code.Unavailable,
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Canceled,
  Code.ResourceExhausted,
]);
