import type pg from "pg";
import { OtaError } from "../errors.ts";
import { Alarm } from "../infra/alarm.ts";
import { BackOff } from "../infra/back-off.ts";
import type { Clock } from "../infra/clock.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import { sessionOn } from "../infra/database/session.ts";
import type { Logger } from "../infra/logger.ts";
import type { IngestMetrics } from "../infra/metrics.ts";
import { HeartbeatCopyEncoder } from "./copy-encoder.ts";
import type { HeartbeatFaults } from "./heartbeat-faults.ts";
import { type FlushParts, HeartbeatFlush } from "./heartbeat-flush.ts";
import {
  HeartbeatQueue,
  type IngestResult,
  type QueuedBatch,
  type QueueLimits,
  type Submission,
} from "./heartbeat-queue.ts";
import { type DurableHeartbeatObserver, HeartbeatObservers } from "./ingest-observers.ts";
import { KnownBoots } from "./known-boots.ts";

/** What a {@link HeartbeatIngest} is made of. */
export interface HeartbeatIngestParts {
  readonly pool: pg.Pool;
  readonly partitions: { ensure(day: Date): Promise<void> };
  readonly observers: readonly DurableHeartbeatObserver[];
  readonly metrics: IngestMetrics;
  readonly faults: HeartbeatFaults;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: IngestLimits;
}

/** The bounds of the ingest, as the settings have them. */
export interface IngestLimits extends QueueLimits {
  /** Rows of one flush. */
  readonly flushRows: number;
  /** How long a flush waits after the start of the one before, if nothing else runs, in milliseconds. */
  readonly lingerMs: number;
}

/** A single call's heartbeats. */
export type SingleSubmission = Pick<Submission, "deviceId" | "epoch" | "followsEpoch" | "records"> & {
  readonly signal: AbortSignal;
};

/**
 * Takes heartbeats from all streams and calls and writes them many at a time. Whoever submits is told after the commit
 * and never before; a device's heartbeats are committed in the order in which they were submitted.
 *
 * When idle it writes at once. Under load a flush waits {@link IngestLimits.lingerMs} since the one before, so that many small
 * transactions become few large ones, and a second flush runs beside the first while there is enough to write. While
 * the database is away it keeps what it holds and tries again; the queue fills, and its bound holds the devices back.
 */
export class HeartbeatIngest implements AsyncDisposable {
  readonly #parts: HeartbeatIngestParts;
  readonly #limits: IngestLimits;
  readonly #queue: HeartbeatQueue;
  readonly #idleEncoders = [new HeartbeatCopyEncoder(), new HeartbeatCopyEncoder()];
  readonly #busyDevices = new Set<string>();
  readonly #flushParts: FlushParts;
  readonly #stop = new AbortController();
  #idle = Promise.withResolvers<void>();
  #running = 0;
  #outages = 0;
  /** Why heartbeats could not be stored the last time they could not. */
  #outage: unknown;
  /** Since when rows wait without one being stored, in monotonic milliseconds; undefined while none waits. */
  #unstoredSinceMs: number | undefined;
  #startedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  /** Set when all that waits belongs to devices in a flush that runs: there is nothing to start before it ends. */
  #blocked = false;
  #closing: Promise<void> | undefined;

  constructor(parts: HeartbeatIngestParts) {
    this.#parts = parts;
    this.#limits = parts.limits;
    this.#flushParts = {
      ...parts,
      observers: new HeartbeatObservers(parts.observers, parts.logger),
      boots: new KnownBoots(sessionOn(parts.pool)),
      release: (batch) => this.#release(batch),
    };
    this.#queue = new HeartbeatQueue(this.#limits);
    this.#idle.resolve();
  }

  /** Rows that are held in memory: queued or being written. */
  get rows(): number {
    return this.#queue.heldRows;
  }

  /** Whether a flush failed because the database is away, and waits to be tried again. */
  get isStalled(): boolean {
    return this.#outages > 0;
  }

  /** For how long rows have waited without any being stored, in milliseconds; 0 while none waits. */
  get unstoredForMs(): number {
    if (this.#unstoredSinceMs === undefined) return 0;
    return this.#parts.clock.monotonicMs() - this.#unstoredSinceMs;
  }

  /** Throws DATABASE_UNAVAILABLE, with the reason, if rows have waited for so long without any being stored. */
  checkProgress(withinMs: number): void {
    const waitedMs = this.unstoredForMs;
    if (waitedMs < withinMs) return;
    const why = this.isStalled ? databaseAway(this.#outage).message : "the database does not answer";
    throw new OtaError(
      "unavailable",
      "DATABASE_UNAVAILABLE",
      `no heartbeat was stored for ${Math.round(waitedMs / 1_000)} s, and ${this.rows} wait: ${why}`,
    );
  }

  /**
   * Takes a stream's batch. A returned promise means that the queue is full: the stream must not read on before it
   * resolves, which is when the batch is in. It rejects when `signal()` aborts; the signal is only asked for then.
   */
  enqueue(submission: Submission, signal: () => AbortSignal): Promise<void> | undefined {
    if (this.#closing !== undefined) throw shuttingDown();
    if (this.#queue.isFull) return this.#queue.pushLater(submission, signal()).then(() => this.#schedule());
    this.#queue.push(submission);
    this.#schedule();
    return undefined;
  }

  /**
   * Stores a single call's heartbeats; resolves after the commit. Throws QUEUE_FULL instead of waiting for room, and
   * DATABASE_UNAVAILABLE as soon as the database is known to be away. Aborting ends the wait; what was sent may be
   * stored all the same.
   */
  submit({
    deviceId,
    epoch,
    followsEpoch = false,
    records,
    signal,
  }: SingleSubmission): Promise<IngestResult> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#closing !== undefined) throw shuttingDown();
      if (this.#queue.isFull) throw queueFull();
      if (this.isStalled) throw databaseAway(undefined);
      const onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#queue.push({
        deviceId,
        epoch,
        followsEpoch,
        generation: 0,
        records,
        failFast: true,
        committed(result) {
          signal.removeEventListener("abort", onAbort);
          resolve(result);
        },
        failed(error) {
          signal.removeEventListener("abort", onAbort);
          reject(error as Error);
        },
      });
      this.#schedule();
    });
  }

  /**
   * Takes no more and writes what it holds, for at most `timeoutMs`; what then is still not written was never
   * acknowledged, and its devices are told UNAVAILABLE. May be called more than once.
   */
  close(timeoutMs = defaultCloseTimeoutMs): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(timeoutMs: number): Promise<void> {
    this.#queue.refuseWaiting(shuttingDown());
    const timer = setTimeout(() => this.#stop.abort(shuttingDown()), timeoutMs);
    try {
      while (this.#running > 0 || this.#queue.length > 0) {
        if (!this.#stop.signal.aborted) this.#start();
        else for (const batch of this.#queue.takeWhere(() => true)) this.#fail(batch, shuttingDown());
        await this.#idle.promise;
      }
    } finally {
      clearTimeout(timer);
      clearTimeout(this.#timer);
      clearImmediate(this.#immediate);
    }
  }

  /** Decides when the next flush starts: now, after a while, or when one that runs has ended. */
  #schedule(): void {
    this.#reportQueue();
    if (this.#immediate !== undefined || this.#blocked) return;
    if (this.#queue.length === 0 || this.#running >= maxFlushes) return;
    if (this.#queue.queuedRows >= this.#limits.flushRows) {
      this.#startSoon();
      return;
    }
    if (this.#timer !== undefined) return;
    const waitMs = this.#running === 0 ? this.#limits.lingerMs : maxAgeMs;
    const dueMs = this.#startedAtMs + waitMs - this.#parts.clock.monotonicMs();
    if (dueMs <= 0) {
      this.#startSoon();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#start();
    }, Math.ceil(dueMs));
  }

  #startSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Not at once: what else has arrived is still being read in this turn of the event loop.
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined;
      this.#start();
    });
  }

  #start(): void {
    const encoder = this.#idleEncoders.pop();
    if (encoder === undefined) return;
    const batches = this.#queue.take(this.#limits.flushRows, maxFlushBytes, (deviceId) =>
      this.#busyDevices.has(deviceId),
    );
    if (batches.length === 0) {
      this.#idleEncoders.push(encoder);
      this.#blocked = this.#running > 0;
      return;
    }
    if (this.#running++ === 0) this.#idle = Promise.withResolvers();
    this.#startedAtMs = this.#parts.clock.monotonicMs();
    for (const { submission } of batches) this.#busyDevices.add(submission.deviceId);
    void this.#flush(batches, encoder);
    this.#schedule();
  }

  async #flush(batches: readonly QueuedBatch[], encoder: HeartbeatCopyEncoder): Promise<void> {
    const flush = new HeartbeatFlush(batches, encoder, this.#flushParts);
    // At random, so that replicas do not all come back at once.
    const backOff = new BackOff({ baseMs: firstPauseMs, capMs: maxPauseMs });
    let failures = 0;
    while (!(await flush.run())) {
      if (this.#stop.signal.aborted) {
        flush.abandon(shuttingDown());
        break;
      }
      this.#parts.metrics.flushFailures.inc();
      if (failures++ === 0) this.#outages++;
      this.#outage = flush.outage;
      this.#parts.logger.warn(
        { err: flush.outage, failures, rows: this.rows },
        "cannot store heartbeats; trying again",
      );
      this.#failFast(flush);
      if (flush.isEmpty) break;
      await new Alarm().wait(backOff.next(), this.#stop.signal);
    }
    if (failures > 0) {
      this.#outages--;
      if (!flush.isEmpty || flush.outage === undefined)
        this.#parts.logger.info("heartbeats are stored again");
    }
    if (flush.outage === undefined) this.#unstoredSinceMs = undefined;
    for (const { submission } of batches) this.#busyDevices.delete(submission.deviceId);
    this.#idleEncoders.push(encoder);
    this.#blocked = false;
    if (--this.#running === 0) this.#idle.resolve();
    // A timer that was set while this flush ran waits longer than it must now.
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#schedule();
  }

  /** Answers the callers that wait for an answer; streams keep theirs in line. */
  #failFast(flush: HeartbeatFlush): void {
    const error = databaseAway(flush.outage);
    flush.failFast(error);
    for (const batch of this.#queue.takeWhere(({ failFast }) => failFast)) this.#fail(batch, error);
  }

  #fail(batch: QueuedBatch, error: unknown): void {
    this.#release(batch);
    batch.submission.failed(error);
  }

  #release(batch: QueuedBatch): void {
    this.#queue.release(batch);
    this.#reportQueue();
  }

  /** On the way in too: in an outage, when the queue matters most, nothing leaves it. */
  #reportQueue(): void {
    this.#parts.metrics.queueRows.set(this.#queue.heldRows);
    this.#parts.metrics.queueBytes.set(this.#queue.heldBytes);
    if (this.#queue.heldRows === 0) this.#unstoredSinceMs = undefined;
    else this.#unstoredSinceMs ??= this.#parts.clock.monotonicMs();
  }
}

/** Estimated bytes of one flush: a batch of long stacks must not hold the event loop for longer than one of plain rows. */
const maxFlushBytes = 8 * 1024 * 1024;

/** While one flush is being encoded the database works on the other. As many as the ingest pool has connections. */
const maxFlushes = 2;

/** How long heartbeats wait beside a flush that runs before a small second one is worth it. */
const maxAgeMs = 50;

const firstPauseMs = 100;
const maxPauseMs = 2_000;
const defaultCloseTimeoutMs = 10_000;

function queueFull(): OtaError {
  return new OtaError("resource_exhausted", "QUEUE_FULL", "too many heartbeats are waiting to be stored", {
    retryAfterMs: 1_000,
  });
}

function shuttingDown(): OtaError {
  return new OtaError("unavailable", "SHUTTING_DOWN", "the service is stopping", { retryAfterMs: 1_000 });
}

function databaseAway(cause: unknown): OtaError {
  return (
    asDatabaseError(cause) ??
    new OtaError("unavailable", "DATABASE_UNAVAILABLE", "the database is not available", {
      retryAfterMs: 1_000,
      ...(cause === undefined ? {} : { cause }),
    })
  );
}
