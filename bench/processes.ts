import type { IngestFloorReady, IngestWork } from "./floors/ingest-floor.ts";
import type { RegistrationFloorReady, RegistrationWork } from "./floors/registration-floor.ts";
import { MeasuredProcess } from "./harness/measured-process.ts";
import type { DownloadsTaken, DownloadWork } from "./load/download-reader.ts";

/** What the measured service announces. */
export interface ProductReady {
  readonly grpcAddress: string;
  readonly httpUrl: string;
  readonly adminToken: string;
  readonly databaseUrl: string;
  readonly storageFolder: string;
}

/** What the measured floor announces. */
export interface FloorReady {
  readonly grpcAddress: string;
  readonly httpUrl: string;
}

/** Starts the whole service on embedded PostgreSQL and a local store in a temporary folder. */
export function startProduct(settings: Record<string, string> = {}): Promise<MeasuredProcess<ProductReady>> {
  return MeasuredProcess.start(new URL("./product.ts", import.meta.url), { settings });
}

/** Starts bare grpc-js and node:http servers. */
export function startFloor(options: {
  file?: string;
  chunkBytes?: number;
}): Promise<MeasuredProcess<FloorReady>> {
  return MeasuredProcess.start(new URL("./floors/grpc-floor.ts", import.meta.url), options);
}

/** Brings heartbeats into the table in one of the plain ways, and says what that cost. */
export async function ingestFloor(work: IngestWork): Promise<IngestFloorReady> {
  await using floor = await MeasuredProcess.start<IngestFloorReady>(
    new URL("./floors/ingest-floor.ts", import.meta.url),
    work,
  );
  return floor.ready;
}

/** Registers devices in the plain way, one by one and together, and says what that cost. */
export async function registrationFloor(work: RegistrationWork): Promise<RegistrationFloorReady> {
  await using floor = await MeasuredProcess.start<RegistrationFloorReady>(
    new URL("./floors/registration-floor.ts", import.meta.url),
    work,
  );
  return floor.ready;
}

/** Makes downloads from a process of its own, and says how much came how fast. */
export async function readDownloads(work: DownloadWork): Promise<DownloadsTaken> {
  await using reader = await MeasuredProcess.start<DownloadsTaken>(
    new URL("./load/download-reader.ts", import.meta.url),
    work,
  );
  return reader.ready;
}
