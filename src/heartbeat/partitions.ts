import { TimePartitions, type TimePartitionsParts } from "../infra/database/time-partitions.ts";

/** What {@link HeartbeatPartitions} is made of. */
export type HeartbeatPartitionsParts = Omit<TimePartitionsParts, "table" | "daysEach">;

/**
 * The daily partitions of device_heartbeats, by UTC day of receipt. A heartbeat's partition follows from the service's own
 * clock when it came, so a device's clock can neither miss nor choose one; one that is missing is made by the ingest.
 */
export class HeartbeatPartitions extends TimePartitions {
  constructor(parts: HeartbeatPartitionsParts) {
    super({ ...parts, table: "device_heartbeats", daysEach: 1 });
  }
}
