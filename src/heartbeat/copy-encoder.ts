import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { columnTypes, readings } from "../device/state/readings.ts";
import { compiled } from "../infra/compiled.ts";
import { CopyBuffer } from "./copy-buffer.ts";

/** The columns of a heartbeat beside its readings: name, type, and where a record has the value. */
const identity: readonly CopyColumn[] = [
  ["device_id", "uuid", "deviceId"],
  ["received_at", "timestamptz", "receivedAt"],
  ["sequence", "bigint", "sequence"],
  ["epoch", "integer", "epoch"],
  ["device_time", "timestamptz", "deviceTime"],
  ["firmware_version", "text", "firmwareVersion"],
  ["boot_id", "text", "bootId"],
  ["uptime_ms", "bigint", "uptimeMs"],
  ["security_counter", "bigint", "securityCounter"],
  ["image_sha256", "bytea", "imageSha256"],
  ["metrics", "jsonb", "metrics"],
  ["components", "jsonb", "components"],
];

type CopyColumn = readonly [name: string, type: CopyType, property: keyof HeartbeatRecord];

/** A method of the buffer. */
type CopyType = Exclude<keyof CopyBuffer, "begin" | "row" | "finish">;

const columns: readonly CopyColumn[] = [
  ...identity,
  ...readings.map(({ column, kind, property }): CopyColumn => [column, typeOf(kind), property]),
];

/** The COPY that {@link HeartbeatCopyEncoder} writes for. The encoder writes these columns in this order and type. */
export const copyStatement = `COPY device_heartbeats (${columns.map(([name]) => name).join(", ")}, errors) FROM STDIN (FORMAT binary)`;

/** Writes heartbeats for {@link copyStatement}, many after another. */
export class HeartbeatCopyEncoder {
  readonly #buffer = new CopyBuffer();

  /** Starts over. */
  begin(): void {
    this.#buffer.begin();
  }

  /** Appends one row. */
  add(record: HeartbeatRecord): void {
    writeRow(this.#buffer, record);
  }

  /** Ends the data and returns all of it: valid until {@link begin} is called again. */
  finish(): Buffer {
    return this.#buffer.finish();
  }
}

const writeRow = compiled<(buffer: CopyBuffer, record: HeartbeatRecord) => void>(`(buffer, record) => {
  buffer.row(${columns.length + 1});
  ${columns.map(([, type, property]) => `buffer.${type}(record.${property});`).join("\n  ")}
  buffer.jsonb(record.errors.length === 0 ? undefined : record.errors);
}`);

function typeOf(kind: keyof typeof columnTypes): CopyType {
  const type = columnTypes[kind];
  return type === "double precision" ? "double" : type;
}
