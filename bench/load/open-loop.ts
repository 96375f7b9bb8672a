import { setTimeout as delay } from "node:timers/promises";
import { beatMessage, type LoadStream } from "./heartbeat-load.ts";

/** What a load at a steady rate saw. */
export interface OpenLoopResult {
  /** From when a heartbeat was due to when it was known to be durable, in milliseconds, shortest first. */
  readonly latencyMs: readonly number[];
  /** Heartbeats that were acknowledged in a second. */
  readonly rate: number;
}

/**
 * Sends heartbeats at a steady rate, one stream after the other, whether or not earlier ones are acknowledged. Time counts
 * from when a heartbeat was due, so a load generator or service that falls behind shows in the figures.
 */
export async function sendSteadily(
  streams: readonly LoadStream[],
  {
    ratePerSecond,
    durationMs,
    from,
  }: {
    readonly ratePerSecond: number;
    readonly durationMs: number;
    /** Every stream has sent its heartbeats up to this one. */
    readonly from: number;
  },
): Promise<OpenLoopResult & { readonly last: number }> {
  const latencyMs: number[] = [];
  const total = Math.round((ratePerSecond * durationMs) / 1_000);
  const rounds = Math.ceil(total / streams.length);
  const messages = Array.from({ length: rounds }, (_, index) => beatMessage(from + index + 1));
  const started = performance.now() + tickMs;
  const dueMs = (sent: number): number => started + (sent * 1_000) / ratePerSecond;
  for (const [position, stream] of streams.entries()) {
    let answered = from;
    stream.onAck = (through) => {
      const now = performance.now();
      while (answered < through) latencyMs.push(now - dueMs((answered++ - from) * streams.length + position));
    };
  }
  const all = rounds * streams.length;
  for (let sent = 0; sent < all; ) {
    const due = Math.min(all, Math.floor(((performance.now() - started) * ratePerSecond) / 1_000) + 1);
    for (; sent < due; sent++) {
      const message = messages[Math.floor(sent / streams.length)];
      if (message !== undefined) streams[sent % streams.length]?.call.write(message);
    }
    await delay(tickMs);
  }
  const deadline = performance.now() + settleMs;
  while (latencyMs.length < all) {
    if (performance.now() > deadline)
      throw new Error(`${all - latencyMs.length} heartbeats are not acknowledged`);
    await delay(tickMs);
  }
  const seconds = (performance.now() - started) / 1_000;
  for (const stream of streams) stream.onAck = undefined;
  return { latencyMs: latencyMs.toSorted((a, b) => a - b), rate: all / seconds, last: from + rounds };
}

/** What a share of sorted values does not exceed. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** How often heartbeats that are due are sent. */
const tickMs = 2;

/** After it whatever is not acknowledged is lost. */
const settleMs = 30_000;
