import { defineEntity, p } from "@mikro-orm/core";
import { readingProperties } from "../device/state/reading-properties.ts";
import type { StoredErrorReport } from "../device/state/stored-error.ts";
import { count, instant } from "../infra/database/columns.ts";

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
    ...readingProperties(),
    /**
     * The contract's number of the network's type, as releases before migration 0013 wrote it; such a release can run beside
     * this one. A later migration drops it.
     */
    networkTypeNumber: p.smallint().fieldName("network_type").nullable(),
    securityCounter: count(),
    imageSha256: p.blob().strictNullable(),
    errors: p.json<StoredErrorReport[]>().strictNullable(),
    metrics: p.json<Record<string, number>>().strictNullable(),
    components: p.json<Record<string, string>>().strictNullable(),
  },
  indexes: [{ name: "device_heartbeats_received_at_index", properties: ["receivedAt"], type: "brin" }],
});
