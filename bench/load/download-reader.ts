import type { Client } from "@grpc/grpc-js";
import { measuredArgument, serveMeasurements } from "../harness/measured-side.ts";
import { HttpReader } from "./http-reader.ts";
import { asIs, bearer, connect, inParallel } from "./raw-client.ts";

/** Downloads that a reader makes, one after the other on each of its connections. */
export interface DownloadWork {
  readonly door: "http" | "grpc";
  /** `host:port`. */
  readonly address: string;
  readonly token: string;
  readonly connections: number;
  /** How many downloads all connections make together. */
  readonly downloads: number;
  /** Over HTTP: what is asked for; `{offset}` and `{end}` in a header stand for the range of that download. */
  readonly request?: { readonly method: "GET" | "HEAD"; readonly path: string; readonly rangeBytes?: number };
  /** Over gRPC: the request, in base64. */
  readonly message?: string;
  /** Bytes of the whole content. */
  readonly sizeBytes: number;
}

/** What a reader took. */
export interface DownloadsTaken {
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * A reader in a process of its own, so that the one who measures takes nothing from the server's time; it looks at nothing
 * but the length of what comes, into one piece of memory, so that it is not what is measured.
 */
const work = measuredArgument<DownloadWork>();
const taken = await (work.door === "http" ? overHttp(work) : overGrpc(work));
serveMeasurements(taken, async () => undefined);

async function overHttp({
  address,
  connections,
  downloads,
  ...asked
}: DownloadWork): Promise<DownloadsTaken> {
  const [host = "", port] = address.split(":");
  const readers = await Promise.all(
    Array.from({ length: connections }, () => HttpReader.open(host, Number(port), asked)),
  );
  const started = performance.now();
  let bytes = 0;
  let next = 0;
  await Promise.all(
    readers.map(async (reader) => {
      while (next < downloads) {
        const taken = await reader.download(next++);
        bytes += taken;
      }
      reader.close();
    }),
  );
  return { bytes, seconds: (performance.now() - started) / 1000 };
}

async function overGrpc({
  address,
  connections,
  downloads,
  token,
  message = "",
}: DownloadWork): Promise<DownloadsTaken> {
  const clients = Array.from({ length: connections }, () => connect(address));
  const request = Buffer.from(message, "base64");
  const started = performance.now();
  let bytes = 0;
  await inParallel(downloads, connections, async (index) => {
    const client = clients[index % connections] as Client;
    const call = client.makeServerStreamRequest<Buffer, Buffer>(
      "/ota.v1.UpdateService/DownloadFirmware",
      asIs,
      asIs,
      request,
      bearer(token),
    );
    for await (const chunk of call) bytes += (chunk as Buffer).length;
  });
  for (const client of clients) client.close();
  return { bytes, seconds: (performance.now() - started) / 1000 };
}
