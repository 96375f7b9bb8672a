import { randomUUID } from "node:crypto";
import { appendFile } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  type CreateDeviceResult,
  type CreateDevicesRequestSchema,
  DeviceService,
  DeviceToCreateSchema,
} from "../../gen/ota/v1/device_service_pb.js";
import { ClientError } from "../client/client-error.ts";
import { retry } from "../infra/back-off.ts";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText } from "./format.ts";
import { type InventoryFormat, type InventoryRow, inventoryRows } from "./inventory-rows.ts";
import { writeNew } from "./new-file.ts";
import { parseDurationMs } from "./parse.ts";
import { type Cli, type Session, withSession } from "./session.ts";

/** `device import`: registers the devices of an inventory. */
export function addDeviceImportCommand(device: Command, cli: Cli): void {
  device
    .command("import")
    .argument("<file>", "the inventory, CSV with a header or one JSON object a line (NDJSON)")
    .description("Register the devices of a file; those that are in service already stay as they are")
    .addOption(
      new Option("--format <format>", "how it is written; by its ending if left out").choices(formats),
    )
    .option(
      "--tokens <file>",
      "give each new device a token, and write them to this new file, one JSON object a line",
    )
    .addOption(
      new Option("--enrol-within <duration>", "let each new device enrol by itself, once, within this time")
        .default(parseDurationMs("30d"), "30d")
        .argParser(parseDurationMs)
        .conflicts("tokens"),
    )
    .action(withSession(cli, importDevices));
}

const formats: readonly InventoryFormat[] = ["csv", "ndjson"];

/** The most devices of one call: one that is lost on the way costs half a second. */
const maxBatchRows = 500;

/** The most bytes of one call's devices; the contract allows 2 MiB. */
const maxBatchBytes = 1024 * 1024;

/** How often a call is made that does not get through. */
const attempts = 5;

/** Failures that are shown one by one. */
const maxShownFailures = 1_000;

interface ImportOptions {
  readonly format?: InventoryFormat;
  readonly tokens?: string;
  readonly enrolWithin: number;
}

async function importDevices(session: Session, path: string, options: ImportOptions): Promise<void> {
  const { tokens } = options;
  const format = options.format ?? formatOf(path);
  if (tokens !== undefined) await writeNew(tokens, "", 0o600);
  const enrolWithin = tokens === undefined ? { enrolWithin: durationFromMs(options.enrolWithin) } : {};
  const tally = new Tally(session);
  try {
    for await (const batch of batches(inventoryRows(path, format, session.signal), tally)) {
      const devices = batch.map(({ device }) => device);
      const results = await register(session, { requestId: randomUUID(), devices, ...enrolWithin });
      // At once, and before the next call: what the service says once must not get lost with what comes later.
      if (tokens !== undefined) await appendFile(tokens, tokenLines(results), { flush: true });
      for (const [place, result] of results.entries()) tally.add(batch[place]?.line ?? 0, result);
    }
  } finally {
    tally.print();
  }
  if (tally.refused > 0)
    throw new CliError(
      exitCodes.failure,
      `${tally.refused} devices were not registered`,
      "Correct them and import the file again: the others stay as they are.",
    );
}

function formatOf(path: string): InventoryFormat {
  if (/\.csv$/i.test(path)) return "csv";
  if (/\.(?:ndjson|jsonl)$/i.test(path)) return "ndjson";
  throw new CliError(exitCodes.usage, "the file's ending does not say how it is written", "Say --format.");
}

type Readable = InventoryRow & Required<Pick<InventoryRow, "device">>;

/** Rows that can be read, as many as one call takes. */
async function* batches(
  rows: AsyncIterable<InventoryRow>,
  tally: Tally,
): AsyncGenerator<readonly Readable[]> {
  let batch: Readable[] = [];
  let bytes = 0;
  for await (const { line, device, fault = "" } of rows) {
    if (device === undefined) {
      tally.refuse({ line, serialNumber: "", reason: "INVALID_REQUEST", field: "", message: fault });
      continue;
    }
    const size = toBinary(DeviceToCreateSchema, create(DeviceToCreateSchema, device)).length;
    if (batch.length === maxBatchRows || (batch.length > 0 && bytes + size > maxBatchBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push({ line, device });
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

/** The same request again where its answer got lost: it makes each device once, and gives a fresh token. */
function register(
  session: Session,
  request: MessageInitShape<typeof CreateDevicesRequestSchema>,
): Promise<readonly CreateDeviceResult[]> {
  const call = async () => (await session.call(DeviceService.method.createDevices, request)).results;
  return retry(call, {
    baseMs: 500,
    capMs: 8_000,
    attempts,
    isWorthRetrying: (error) => error instanceof ClientError && error.transient,
    atLeastMs: (error) => (error instanceof ClientError ? error.retryAfterMs : undefined),
    signal: session.signal,
  });
}

function tokenLines(results: readonly CreateDeviceResult[]): string {
  return results
    .filter(({ deviceToken }) => deviceToken !== "")
    .map(
      ({ serialNumber, deviceId, deviceToken }) =>
        `${JSON.stringify({ serialNumber, deviceId, deviceToken })}\n`,
    )
    .join("");
}

/** A device that was not registered. */
interface Refused {
  readonly line: number;
  readonly serialNumber: string;
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

/** What became of the devices so far. */
class Tally {
  readonly #session: Session;
  readonly #failures: Refused[] = [];
  #created = 0;
  #existing = 0;
  refused = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  add(line: number, { serialNumber, existing, failure }: CreateDeviceResult): void {
    if (failure !== undefined) {
      const { reason, field, message } = failure;
      this.refuse({ line, serialNumber, reason, field, message });
    } else if (existing) this.#existing++;
    else this.#created++;
  }

  refuse(refused: Refused): void {
    this.refused++;
    if (this.refused > maxShownFailures) return;
    if (this.#session.json) this.#failures.push(refused);
    else this.#session.terminal.note(textOf(refused));
  }

  /** Says how many there were of each kind; as JSON with the failures, as far as they are shown. */
  print(): void {
    const { json, terminal } = this.#session;
    const counts = { created: this.#created, existing: this.#existing, refused: this.refused };
    if (json) return terminal.out(JSON.stringify({ ...counts, failures: this.#failures }, undefined, 2));
    const hidden = this.refused - maxShownFailures;
    if (hidden > 0) terminal.note(`and ${hidden} more`);
    terminal.out(
      `${counts.created} registered, ${counts.existing} in service before, ${counts.refused} refused.`,
    );
  }
}

function textOf({ line, serialNumber, message }: Refused): string {
  const whose = serialNumber === "" ? "" : ` (${cleanText(serialNumber)})`;
  return `line ${line}${whose}: ${cleanText(message)}`;
}
