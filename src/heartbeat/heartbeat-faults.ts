import type { HeartbeatFault } from "../device/state/heartbeat-fault-writer.ts";
import type { Clock } from "../infra/clock.ts";
import type { IngestMetrics } from "../infra/metrics.ts";
import type { HeartbeatRejection } from "./heartbeat-queue.ts";
import { fieldKind } from "./left-out.ts";
import type { CheckedBatch } from "./stream-session.ts";

/** What {@link HeartbeatFaults} are told to. */
export interface HeartbeatFaultsParts {
  readonly metrics: Pick<IngestMetrics, "rowsRejected" | "rowsDuplicate" | "readingsLeftOut">;
  /** Keeps them by device. */
  readonly log: { add(fault: HeartbeatFault): void };
  readonly clock: Clock;
}

/** Counts what is wrong with heartbeats and keeps it by device: one that is not heard as it means to be is seen. */
export class HeartbeatFaults {
  readonly #parts: HeartbeatFaultsParts;

  constructor(parts: HeartbeatFaultsParts) {
    this.#parts = parts;
  }

  /** What the rules found in a batch. */
  checked(deviceId: string, { rejected, leftOut }: CheckedBatch): void {
    if (rejected.length > 0) this.refused(deviceId, rejected);
    if (leftOut.count === 0) return;
    const { metrics, log } = this.#parts;
    const noticed = this.#noticed(deviceId);
    for (const [field, { count, newest }] of leftOut.byField) {
      metrics.readingsLeftOut.labels(field).inc(count);
      const { sequence, value, description } = newest;
      log.add({ ...noticed, kind: "left_out", field, count, sequence, value, description });
    }
  }

  /** Heartbeats that were refused, by the rules or by the database. */
  refused(deviceId: string, rejected: readonly HeartbeatRejection[]): void {
    const { metrics, log } = this.#parts;
    metrics.rowsRejected.inc(rejected.length);
    const noticed = this.#noticed(deviceId);
    for (const { sequence, field, description } of rejected) {
      const fault = { ...noticed, kind: "refused", field: fieldKind(field) } as const;
      log.add({ ...fault, count: 1, sequence, value: "", description });
    }
  }

  /** Heartbeats that were stored before; `sequence` is the newest of them. */
  repeated(deviceId: string, count: number, sequence: number): void {
    const { metrics, log } = this.#parts;
    metrics.rowsDuplicate.inc(count);
    const fault = { ...this.#noticed(deviceId), kind: "repeated", field: "" } as const;
    log.add({ ...fault, count, sequence: BigInt(sequence), value: "", description: "" });
  }

  /** Now: what is noticed of one batch is noticed at one time. */
  #noticed(deviceId: string): Pick<HeartbeatFault, "deviceId" | "noticedAt"> {
    return { deviceId, noticedAt: this.#parts.clock.now() };
  }
}
