import { create, fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { type FieldMask, type Timestamp } from "@bufbuild/protobuf/wkt";
import { ReceivedHeartbeatSchema } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { ExportFormat, ExportHeartbeatsRequestSchema } from "../../gen/ota/v1/telemetry_service_pb.js";
import { timeRange } from "../call/request-date.ts";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { byField } from "../device/state/readings.ts";
import { invalidArgument } from "../errors.ts";
import { type HeartbeatField, heartbeatFields, maskedFields } from "../heartbeat/heartbeat-fields.ts";
import { maskedHeartbeat } from "../heartbeat/read-mask-messages.ts";

/** What to export, checked. */
export interface ExportRequest {
  readonly deviceId: string;
  readonly from: Date | undefined;
  readonly to: Date | undefined;
  readonly fields: readonly HeartbeatField[] | undefined;
  readonly format: ExportFormat;
}

/** How a heartbeat becomes a line. */
export interface ExportText {
  readonly contentType: string;
  readonly extension: string;
  /** What comes before the first line; empty for nothing. */
  readonly header: string;
  /** A heartbeat with its line end. */
  line(record: HeartbeatRecord): string;
}

/** Checks an export request beyond its rules. */
export function exportRequest(message: {
  readonly deviceId: string;
  readonly startTime?: Timestamp | undefined;
  readonly endTime?: Timestamp | undefined;
  readonly readMask?: FieldMask | undefined;
  readonly format: ExportFormat;
}): ExportRequest {
  return {
    deviceId: message.deviceId,
    ...timeRange(message),
    fields: maskedFields(message.readMask?.paths),
    format: message.format,
  };
}

/** Reads the export that a URL's path and query ask for. Throws INVALID_ARGUMENT that names the parameter. */
export function exportRequestOfQuery(deviceId: string, query: URLSearchParams): ExportRequest {
  if (!/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(deviceId))
    throw invalidArgument("device_id", "must be a UUID");
  const json: JsonObject = {};
  for (const name of new Set(query.keys())) {
    const key = queryNames[name];
    if (key === undefined) throw invalidArgument(name.slice(0, 100), "is not a query parameter of this call");
    const [value = "", ...more] = query.getAll(name);
    if (more.length > 0 || key in json) throw invalidArgument(key, "is given more than once");
    json[key] = key === "format" ? (formats[value] ?? value) : value;
    try {
      fromJson(ExportHeartbeatsRequestSchema, { [key]: json[key] });
    } catch (cause) {
      const expected = key === "format" ? "must be csv or ndjson" : "cannot be read";
      throw Object.assign(invalidArgument(key, expected), { cause });
    }
  }
  const message = fromJson(ExportHeartbeatsRequestSchema, json);
  if (message.format === ExportFormat.UNSPECIFIED) message.format = ExportFormat.NDJSON;
  return exportRequest({ ...message, deviceId });
}

/** How heartbeats are written in a format. */
export function exportText({ format, fields }: ExportRequest): ExportText {
  if (format === ExportFormat.CSV) return csvText(fields ?? heartbeatFields);
  return {
    contentType: "application/x-ndjson; charset=utf-8",
    extension: "ndjson",
    header: "",
    line: (record) =>
      `${JSON.stringify(toJson(ReceivedHeartbeatSchema, create(ReceivedHeartbeatSchema, maskedHeartbeat(record, fields))))}\n`,
  };
}

const queryNames: Readonly<Record<string, string>> = {
  format: "format",
  startTime: "startTime",
  start_time: "startTime",
  endTime: "endTime",
  end_time: "endTime",
  readMask: "readMask",
  read_mask: "readMask",
};

const formats: Readonly<Record<string, string>> = {
  csv: "EXPORT_FORMAT_CSV",
  ndjson: "EXPORT_FORMAT_NDJSON",
};

/** A column of CSV: its name and how its cell is read. */
type Column = readonly [name: string, cell: (record: HeartbeatRecord) => Cell];

type Cell = string | number | boolean | Date | undefined;

const placed: readonly Column[] = [
  ["receive_time", (r) => r.receivedAt],
  ["epoch", (r) => r.epoch],
  ["sequence", (r) => r.sequence],
];

const csvColumns: Readonly<Record<HeartbeatField, readonly Column[]>> = {
  sequence: [],
  device_time: [["device_time", (r) => r.deviceTime]],
  firmware_version: [["firmware_version", (r) => r.firmwareVersion]],
  boot_id: [["boot_id", (r) => r.bootId]],
  uptime: [["uptime_seconds", (r) => r.uptimeMs / 1_000]],
  ...byField(({ name, property }): Column => [name, (record) => record[property]]),
  errors: [["errors", (r) => (r.errors.length === 0 ? undefined : JSON.stringify(r.errors))]],
  metrics: [["metrics", (r) => (r.metrics === undefined ? undefined : JSON.stringify(r.metrics))]],
  security_counter: [["security_counter", (r) => r.securityCounter]],
  image_sha256: [
    [
      "image_sha256",
      (r) => (r.imageSha256 === undefined ? undefined : Buffer.from(r.imageSha256).toString("hex")),
    ],
  ],
  components: [
    ["components", (r) => (r.components === undefined ? undefined : JSON.stringify(r.components))],
  ],
};

/** CSV as RFC 4180 has it. */
function csvText(fields: readonly HeartbeatField[]): ExportText {
  const columns = [...placed, ...fields.flatMap((field) => csvColumns[field])];
  return {
    contentType: "text/csv; charset=utf-8; header=present",
    extension: "csv",
    header: `${columns.map(([name]) => name).join(",")}\r\n`,
    line: (record) => `${columns.map(([, cell]) => csvCell(cell(record))).join(",")}\r\n`,
  };
}

/** Text that a spreadsheet would take for a formula gets an apostrophe before it: devices choose what stands in it. */
function csvCell(value: Cell): string {
  if (value === undefined) return "";
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
