import type { IngestMetrics } from "../infra/metrics.ts";
import type { HeartbeatRejection } from "./heartbeat-queue.ts";
import type { CheckedBatch } from "./stream-session.ts";

/** Counts what is wrong with heartbeats, so that a device that is not heard as it means to be is seen. */
export class HeartbeatFaults {
  readonly #metrics: Pick<IngestMetrics, "rowsRejected" | "rowsDuplicate" | "readingsLeftOut">;

  constructor(metrics: Pick<IngestMetrics, "rowsRejected" | "rowsDuplicate" | "readingsLeftOut">) {
    this.#metrics = metrics;
  }

  /** What the rules found in a batch. */
  checked(deviceId: string, { rejected, leftOut }: CheckedBatch): void {
    if (rejected.length > 0) this.refused(deviceId, rejected);
    if (leftOut.count === 0) return;
    for (const [field, { count }] of leftOut.byField) this.#metrics.readingsLeftOut.labels(field).inc(count);
  }

  /** Heartbeats that were refused, by the rules or by the database. */
  refused(_deviceId: string, rejected: readonly HeartbeatRejection[]): void {
    this.#metrics.rowsRejected.inc(rejected.length);
  }

  /** Heartbeats that were stored before. */
  repeated(_deviceId: string, count: number): void {
    this.#metrics.rowsDuplicate.inc(count);
  }
}
