import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { Option } from "commander";
import {
  ExportFormat,
  QuerySeriesResponseSchema,
  type Series,
  type SeriesPoint,
  TelemetryService,
  TimeBasis,
} from "../../gen/ota/v1/telemetry_service_pb.js";
import { cleanText, durationText, timeText } from "./format.ts";
import { collectList, parseCount, parseSince } from "./parse.ts";
import { deviceId } from "./references.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** `device series` and `device export`: what a device measured. */
export function addTelemetryCommands(device: Command, cli: Cli): void {
  device
    .command("series")
    .argument("<device>", "the device: its id or serial number")
    .description("Show metrics of a device over time, thinned out by the service")
    .requiredOption(
      "--metric <names>",
      "which, for example battery_percent or metrics.door_open_count; up to 8",
      collectList,
    )
    .option(
      "--since <time>",
      "from here on: a time, or such as 1h for the last hour (default: 1d)",
      parseSince,
    )
    .option("--until <time>", "up to before this (default: now)", parseSince)
    .option("--points <count>", "how many points at most", parseCount(1, 2_000), 50)
    .addOption(
      new Option("--by <time>", "when heartbeats were received, or made by the device's clock")
        .choices(Object.keys(timeBases))
        .default("receive"),
    )
    .option("--time-zone <name>", "whose days points of days are, for example Europe/Berlin (default: UTC)")
    .action(withSession(cli, showSeries));
  device
    .command("export")
    .argument("<device>", "the device: its id or serial number")
    .description("Write all heartbeats of a device to standard output, oldest first")
    .addOption(new Option("--format <format>", "how").choices(Object.keys(formats)).default("ndjson"))
    .option(
      "--since <time>",
      "received at or after this: a time, or such as 1h for the last hour",
      parseSince,
    )
    .option("--until <time>", "received before this", parseSince)
    .option("--fields <names>", "only these, for example battery_percent,location", collectList)
    .action(withSession(cli, exportHeartbeats));
}

const timeBases: Readonly<Record<string, TimeBasis>> = {
  receive: TimeBasis.RECEIVE,
  device: TimeBasis.DEVICE,
};

const formats: Readonly<Record<string, ExportFormat>> = {
  csv: ExportFormat.CSV,
  ndjson: ExportFormat.NDJSON,
};

interface SeriesOptions {
  readonly metric: string[];
  readonly since?: Timestamp;
  readonly until?: Timestamp;
  readonly points: number;
  readonly by: string;
  readonly timeZone?: string;
}

async function showSeries(session: Session, reference: string, options: SeriesOptions): Promise<void> {
  const answer = await session.call(TelemetryService.method.querySeries, {
    deviceId: await deviceId(session, reference),
    metrics: options.metric,
    startTime: options.since ?? parseSince("1d"),
    ...(options.until === undefined ? {} : { endTime: options.until }),
    maxPoints: options.points,
    timeBasis: timeBases[options.by] ?? TimeBasis.RECEIVE,
    timeZone: options.timeZone ?? "",
  });
  session.print(QuerySeriesResponseSchema, answer, () =>
    answer.series
      .map((series) => renderSeries(session.terminal, series, durationText(answer.bucketDuration)))
      .join("\n\n"),
  );
}

/** The text is written as it comes: a reader that is slow holds the service back, and neither keeps it. */
async function exportHeartbeats(
  session: Session,
  reference: string,
  options: { format: string; since?: Timestamp; until?: Timestamp; fields?: string[] },
): Promise<void> {
  const parts = session.stream(TelemetryService.method.exportHeartbeats, {
    deviceId: await deviceId(session, reference),
    format: formats[options.format] ?? ExportFormat.NDJSON,
    ...(options.since === undefined ? {} : { startTime: options.since }),
    ...(options.until === undefined ? {} : { endTime: options.until }),
    ...(options.fields === undefined ? {} : { readMask: { paths: options.fields } }),
  });
  // A part holds whole lines, so no character is cut in two.
  const text = new TextDecoder();
  for await (const { data } of parts) session.terminal.write(text.decode(data));
}

function renderSeries(terminal: Terminal, { metric, unit, points }: Series, width: string): string {
  const title = `${cleanText(metric)}${unit === "" ? "" : ` in ${unit}`}`;
  if (points.length === 0) return `${terminal.paint("bold", title)}: nothing was measured.`;
  const columns: Column<SeriesPoint>[] = [
    { title: "time", text: ({ startTime }) => timeText(startTime) },
    { title: "min", text: ({ min }) => valueText(min), align: "right" },
    { title: "mean", text: ({ avg }) => valueText(avg), align: "right" },
    { title: "max", text: ({ max }) => valueText(max), align: "right" },
    { title: "last", text: ({ last }) => valueText(last), align: "right" },
    { title: "count", text: ({ count }) => String(count), align: "right" },
  ];
  return `${terminal.paint("bold", title)}, ${width} each\n${renderTable(terminal, columns, points)}`;
}

/** Whole numbers as they are, others with as many digits as a reading of 32 bits has. */
function valueText(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}
