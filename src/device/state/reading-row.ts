import { compiled } from "../../infra/compiled.ts";
import type { HeartbeatRecord } from "./heartbeat-record.ts";
import { type Reading, type Readings, readings } from "./readings.ts";

/** Columns that device_state and device_heartbeats share beside those of the readings, as pg reads them: bigint comes as text. */
export interface ReadingRow {
  readonly epoch: number;
  readonly firmware_version: string;
  readonly boot_id: string;
  readonly uptime_ms: string;
  readonly image_sha256: Buffer | null;
  readonly components: Record<string, string> | null;
}

/** What those columns say, as part of a {@link HeartbeatRecord}. */
export function readingOf(row: ReadingRow) {
  return {
    epoch: row.epoch,
    firmwareVersion: row.firmware_version,
    bootId: row.boot_id,
    uptimeMs: Number(row.uptime_ms),
    imageSha256: row.image_sha256 ?? undefined,
    components: row.components ?? undefined,
    ...readingsOfRow(row),
  } satisfies Partial<HeartbeatRecord>;
}

/** The readings in a row with their columns, some or all: absent if the device did not tell, or the column was not read. */
export const readingsOfRow = compiled<(row: object) => Readings>(
  `(row) => ({ ${readings.map((reading) => `${reading.property}: ${valueOf(reading)}`).join(", ")} })`,
);

function valueOf({ kind, column }: Reading): string {
  const value = `row.${column} ?? undefined`;
  return kind === "count" ? `row.${column} == null ? undefined : Number(row.${column})` : value;
}
