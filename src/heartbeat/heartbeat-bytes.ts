import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { RecentMap } from "../infra/recent-map.ts";

/** Bytes of heartbeats that a device may send in a period. */
export interface ByteLimit {
  readonly bytes: number;
  readonly periodMs: number;
}

/**
 * What each device may still send, in bytes: a bucket that fills up within a period, so that a device that was offline
 * may catch up at once and one that has used it up is still heard, if it sends little. In memory, for this replica alone.
 *
 * It is the generic cell rate algorithm (ITU-T I.371): one number a device, the time at which its bucket would be full again.
 */
export class ByteBudgets {
  readonly #limit: ByteLimit | undefined;
  readonly #clock: Clock;
  readonly #fullAtMs: RecentMap<number>;

  /** Without a limit devices may send as they like. */
  constructor(limit: ByteLimit | undefined, clock: Clock) {
    this.#limit = limit;
    this.#clock = clock;
    this.#fullAtMs = new RecentMap(limit?.periodMs ?? 0);
  }

  /**
   * Takes what a device's heartbeats hold, all or nothing; what is more than a full bucket takes all of it. Throws RATE_LIMITED
   * with the time to wait.
   */
  take(deviceId: string, records: readonly HeartbeatRecord[]): void {
    if (this.#limit === undefined) return;
    const { bytes: most, periodMs } = this.#limit;
    let bytes = 0;
    for (const record of records) bytes += recordBytes(record);
    const nowMs = this.#clock.monotonicMs();
    const fullAtMs = Math.max(this.#fullAtMs.get(deviceId, nowMs) ?? nowMs, nowMs);
    const nextMs = fullAtMs + Math.min(bytes / most, 1) * periodMs;
    const excessMs = nextMs - nowMs - periodMs;
    // A microsecond of tolerance for the rounding of the sum.
    if (excessMs > 0.001) throw tooManyBytes(most, Math.ceil(excessMs));
    this.#fullAtMs.set(deviceId, nextMs);
  }
}

/** Roughly what a record takes in memory: V8's strings take one or two bytes a character. */
export function recordBytes(record: HeartbeatRecord): number {
  let bytes = rowBytes;
  if (record.errors.length > 0) {
    for (const { code, message, stack, context } of record.errors) {
      bytes += errorBytes + 2 * (code.length + message.length + stack.length);
      if (context !== undefined) bytes += textsBytes(context);
    }
  }
  if (record.metrics !== undefined) {
    for (const name in record.metrics) bytes += metricBytes + name.length;
  }
  if (record.components !== undefined) bytes += textsBytes(record.components);
  return bytes;
}

function textsBytes(texts: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const name in texts) bytes += metricBytes + 2 * (name.length + (texts[name]?.length ?? 0));
  return bytes;
}

/** Memory of a row without what varies. */
const rowBytes = 400;

const errorBytes = 200;

const metricBytes = 40;

function tooManyBytes(limit: number, retryAfterMs: number): OtaError {
  return new OtaError(
    "resource_exhausted",
    "RATE_LIMITED",
    `too many bytes of heartbeats (limit: ${limit}); try again in ${Math.ceil(retryAfterMs / 1_000)} s`,
    { metadata: { limit: "heartbeat_bytes" }, retryAfterMs },
  );
}
