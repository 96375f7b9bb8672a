import { defineEntity, p } from "@mikro-orm/core";
import { count, updatedAt } from "../infra/database/columns.ts";

/**
 * How far a device's heartbeats are stored: what is at or below (epoch, last_sequence) has been seen. Rows are locked
 * in the order of device_id. No foreign key: an ingest batch must not fail for a device that is not there.
 */
export const DeviceIngestEntity = defineEntity({
  name: "DeviceIngest",
  tableName: "device_ingest",
  properties: {
    deviceId: p.uuid().primary(),
    epoch: p.integer().default(0),
    lastSequence: count().default(0),
    /** Grows with every stream that the device opens; a batch of an older stream is refused. */
    streamGeneration: count().default(0),
    updatedAt: updatedAt(),
  },
});
