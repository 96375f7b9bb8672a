import { createReadStream, type ReadStream } from "node:fs";
import { fromJson, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { type CsvError, parse } from "csv-parse";
import { DeviceToCreateSchema } from "../../gen/ota/v1/device_service_pb.js";
import { CliError, exitCodes } from "./failure.ts";

/** How an inventory is written down. */
export type InventoryFormat = "csv" | "ndjson";

/** A row of an inventory: a device, or why it cannot be read as one. */
export interface InventoryRow {
  /** Where it ends in the file, from 1. */
  readonly line: number;
  readonly device?: MessageInitShape<typeof DeviceToCreateSchema>;
  readonly fault?: string;
}

/** Reads an inventory row by row, however long it is. A file that cannot be read at all, or has unknown columns, is refused. */
export function inventoryRows(
  path: string,
  format: InventoryFormat,
  signal: AbortSignal,
): AsyncGenerator<InventoryRow> {
  const bytes = createReadStream(path, { signal });
  return format === "csv" ? csvRows(bytes) : jsonRows(bytes);
}

/** One JSON object a line, as the contract writes devices. Empty lines are passed over. */
async function* jsonRows(bytes: ReadStream): AsyncGenerator<InventoryRow> {
  let line = 0;
  for await (const text of linesOf(bytes)) {
    line++;
    if (text.trim() === "") continue;
    yield { line, ...readJson(text) };
  }
}

/** node:readline would end a line at U+2028 and U+2029 too, which may stand in a JSON text. */
async function* linesOf(bytes: ReadStream): AsyncGenerator<string> {
  let rest = "";
  let isFirst = true;
  for await (const text of bytes.setEncoding("utf8") as AsyncIterable<string>) {
    // Some editors begin a file with a byte order mark.
    const lines = (rest + (isFirst && text.startsWith("\uFEFF") ? text.slice(1) : text)).split("\n");
    isFirst = false;
    rest = lines.pop() ?? "";
    if (rest.length > longestRow)
      throw new CliError(exitCodes.usage, `the file has a line of more than ${longestRow} characters`);
    yield* lines;
  }
  yield rest;
}

/** In characters; more than any device needs. */
const longestRow = 1_048_576;

function readJson(text: string): Omit<InventoryRow, "line"> {
  try {
    return { device: fromJson(DeviceToCreateSchema, JSON.parse(text) as JsonValue) };
  } catch (error) {
    return { fault: (error as Error).message };
  }
}

/** RFC 4180 with a header, whose columns may stand in any order. */
async function* csvRows(bytes: ReadStream): AsyncGenerator<InventoryRow> {
  const parser = bytes.pipe(
    parse({
      bom: true,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      max_record_size: longestRow,
    }),
  );
  bytes.on("error", (error) => parser.destroy(error));
  let columns: readonly Column[] | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
      const { lines: line } = info;
      if (columns === undefined) {
        columns = columnsOf(record);
      } else if (record.length === columns.length) {
        yield { line, device: deviceOf(columns, record) };
      } else {
        yield { line, fault: `has ${record.length} columns, and the header ${columns.length}` };
      }
    }
  } catch (error) {
    if (!isCsvError(error)) throw error;
    throw new CliError(exitCodes.usage, `the file is no CSV: ${error.message}`);
  }
}

interface CsvRecord {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

function isCsvError(error: unknown): error is CsvError {
  return error instanceof Error && "code" in error && String(error.code).startsWith("CSV_");
}

/** Where the text of a column goes. */
type Column =
  | { readonly field: "serialNumber" | "deviceType" | "hardwareModel" | "displayName" | "product" | "groups" }
  | { readonly metadata: string };

const fields: Readonly<Record<string, Column>> = {
  serial_number: { field: "serialNumber" },
  device_type: { field: "deviceType" },
  hardware_model: { field: "hardwareModel" },
  display_name: { field: "displayName" },
  product: { field: "product" },
  groups: { field: "groups" },
};

const metadataPrefix = "metadata.";

function columnsOf(header: readonly string[]): readonly Column[] {
  const columns = header.map((title): Column => {
    const name = title.trim();
    const known = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (known !== undefined) return known;
    if (name.startsWith(metadataPrefix)) return { metadata: name.slice(metadataPrefix.length) };
    throw new CliError(
      exitCodes.usage,
      `the header has an unknown column, ${JSON.stringify(name)}`,
      `There are ${Object.keys(fields).join(", ")}, and ${metadataPrefix}<key>.`,
    );
  });
  const twice = header.find((title, place) => header.indexOf(title) !== place);
  if (twice !== undefined)
    throw new CliError(exitCodes.usage, `the header has the column ${JSON.stringify(twice)} twice`);
  return columns;
}

function deviceOf(
  columns: readonly Column[],
  record: readonly string[],
): MessageInitShape<typeof DeviceToCreateSchema> {
  const texts: Partial<Record<string, string>> = {};
  const metadata: Record<string, string> = {};
  for (const [place, column] of columns.entries()) {
    const text = record[place] ?? "";
    if ("field" in column) texts[column.field] = text;
    else if (text !== "") metadata[column.metadata] = text;
  }
  const { groups = "", ...rest } = texts;
  const names = groups.split(";").map((name) => name.trim());
  return { ...rest, groups: names.filter((name) => name !== ""), metadata };
}
