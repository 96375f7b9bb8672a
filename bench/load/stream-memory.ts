import type { MeasuredProcess } from "../harness/measured-process.ts";
import { openLoadStreams } from "./heartbeat-load.ts";

/** Opened first, so that what is loaded once is not counted against each. */
const warmUp = 50;

/** Resident memory of a server for each idle heartbeat stream of the first `count` devices, in bytes; a TCP connection each. */
export async function bytesPerStream(
  server: MeasuredProcess<{ readonly grpcAddress: string }>,
  count: number,
  answers: "welcome" | "headers",
): Promise<number> {
  const { grpcAddress } = server.ready;
  const warm = await openLoadStreams(grpcAddress, { from: 0, to: warmUp, answers });
  const before = (await server.usage()).rssBytes;
  const streams = await openLoadStreams(grpcAddress, { from: warmUp, to: count, answers });
  const after = (await server.usage()).rssBytes;
  for (const { call } of [...warm, ...streams]) call.cancel();
  return (after - before) / (count - warmUp);
}
