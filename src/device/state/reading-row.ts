import type { HeartbeatRecord } from "./heartbeat-record.ts";

/** The columns that device_state and device_heartbeats share, as pg reads them: bigint comes as text. */
export interface ReadingRow {
  readonly epoch: number;
  readonly firmware_version: string;
  readonly boot_id: string;
  readonly uptime_ms: string;
  readonly battery_percent: number | null;
  readonly charging: boolean | null;
  readonly cpu_percent: number | null;
  readonly memory_percent: number | null;
  readonly storage_free_bytes: string | null;
  readonly temperature_celsius: number | null;
  readonly latitude: number | null;
  readonly longitude: number | null;
  readonly accuracy_meters: number | null;
  readonly altitude_meters: number | null;
  readonly network_type: number | null;
  readonly signal_dbm: number | null;
  readonly carrier: string | null;
  readonly image_sha256: Buffer | null;
  readonly components: Record<string, string> | null;
  readonly fix_time: Date | null;
}

/** What those columns say, as part of a {@link HeartbeatRecord}. */
export function readingOf(row: ReadingRow) {
  return {
    epoch: row.epoch,
    firmwareVersion: row.firmware_version,
    bootId: row.boot_id,
    uptimeMs: Number(row.uptime_ms),
    batteryPercent: row.battery_percent ?? undefined,
    charging: row.charging ?? undefined,
    cpuPercent: row.cpu_percent ?? undefined,
    memoryPercent: row.memory_percent ?? undefined,
    storageFreeBytes: row.storage_free_bytes === null ? undefined : Number(row.storage_free_bytes),
    temperatureCelsius: row.temperature_celsius ?? undefined,
    latitude: row.latitude ?? undefined,
    longitude: row.longitude ?? undefined,
    accuracyMeters: row.accuracy_meters ?? undefined,
    altitudeMeters: row.altitude_meters ?? undefined,
    networkType: row.network_type ?? undefined,
    signalDbm: row.signal_dbm ?? undefined,
    carrier: row.carrier ?? undefined,
    imageSha256: row.image_sha256 ?? undefined,
    components: row.components ?? undefined,
    fixTime: row.fix_time ?? undefined,
  } satisfies Partial<HeartbeatRecord>;
}
