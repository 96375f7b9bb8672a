import { defineEntity, p } from "@mikro-orm/core";
import { count, instant } from "../infra/database/columns.ts";

/** An error that a device reported, as it is stored. */
export interface StoredErrorReport {
  code: string;
  severity: number;
  message: string;
  stack: string;
  fatal: boolean;
  context?: Record<string, string>;
  crashLogId?: string;
}

/**
 * One heartbeat. The table is partitioned by day of received_at; the migration says so, not this entity, and the
 * daily partitions are no business of the ORM. Rows are written by COPY. No foreign key leads in or out.
 */
export const DeviceHeartbeatEntity = defineEntity({
  name: "DeviceHeartbeat",
  tableName: "device_heartbeats",
  properties: {
    deviceId: p.uuid().primary(),
    receivedAt: instant().primary(),
    sequence: count().primary(),
    epoch: p.integer(),
    /** The device's own clock: untrusted, never routes a row. */
    deviceTime: instant().strictNullable(),
    firmwareVersion: p.text(),
    bootId: p.text(),
    uptimeMs: count(),
    batteryPercent: p.float().strictNullable(),
    charging: p.boolean().strictNullable(),
    cpuPercent: p.float().strictNullable(),
    memoryPercent: p.float().strictNullable(),
    storageFreeBytes: count().strictNullable(),
    temperatureCelsius: p.float().strictNullable(),
    latitude: p.double().strictNullable(),
    longitude: p.double().strictNullable(),
    accuracyMeters: p.float().strictNullable(),
    altitudeMeters: p.float().strictNullable(),
    networkType: p.smallint().strictNullable(),
    signalDbm: p.smallint().strictNullable(),
    carrier: p.text().strictNullable(),
    securityCounter: count(),
    imageSha256: p.blob().strictNullable(),
    errors: p.json<StoredErrorReport[]>().strictNullable(),
    metrics: p.json<Record<string, number>>().strictNullable(),
    components: p.json<Record<string, string>>().strictNullable(),
    fixTime: instant().strictNullable(),
  },
  indexes: [{ name: "device_heartbeats_received_at_index", properties: ["receivedAt"], type: "brin" }],
});
