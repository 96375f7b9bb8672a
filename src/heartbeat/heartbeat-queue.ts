import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { recordBytes } from "./heartbeat-bytes.ts";

/** A heartbeat that is refused for good, as its device is told. */
export interface HeartbeatRejection {
  /** As the device sent it, which may be more than a number holds. */
  readonly sequence: bigint;
  readonly field: string;
  readonly description: string;
}

/** What became of a batch that was handled to the end. */
export interface IngestResult {
  /** Every heartbeat of the device's epoch up to this sequence is committed, or was refused. */
  readonly ackedThrough: number;
  /** The epoch that they were counted in, if it is not that of the submission. */
  readonly epoch?: number;
  /** Heartbeats that the database refused. */
  readonly rejected: readonly HeartbeatRejection[];
}

/** Heartbeats of one device on their way into the database, and who is told what became of them. */
export interface Submission {
  readonly deviceId: string;
  readonly epoch: number;
  /** Whether the device told no epoch and means the one that it is counted in; `epoch`, and that of the records, is a guess then. */
  readonly followsEpoch?: boolean;
  /** The generation of the stream; 0 for a single call. */
  readonly generation: number;
  /** Oldest first. May be empty: then it is settled when what the device sent before it is. */
  readonly records: readonly HeartbeatRecord[];
  /** Whether to give up at once, with UNAVAILABLE, when the database is away: someone waits for an answer. */
  readonly failFast: boolean;
  /** Called once, when all is committed or refused. */
  committed(result: IngestResult): void;
  /** Called instead if the batch as a whole cannot be stored; the device may send it again. */
  failed(error: unknown): void;
}

/** How much a queue may hold. */
export interface QueueLimits {
  readonly maxRows: number;
  /** Estimated memory of the rows. */
  readonly maxBytes: number;
}

/** A submission in the queue or in a flush. */
export interface QueuedBatch {
  readonly submission: Submission;
  readonly bytes: number;
}

/**
 * What waits to be written and what is being written, bounded in rows and bytes together: that is the memory that a
 * database outage can cost. First in, first out; whoever finds it full is let in in turn.
 */
export class HeartbeatQueue {
  readonly #limits: QueueLimits;
  #batches: QueuedBatch[] = [];
  readonly #waiters = new Set<Waiter>();
  #queuedRows = 0;
  #heldRows = 0;
  #heldBytes = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** Batches that wait. */
  get length(): number {
    return this.#batches.length;
  }

  /** Rows that wait. */
  get queuedRows(): number {
    return this.#queuedRows;
  }

  /** Rows that wait or are being written. */
  get heldRows(): number {
    return this.#heldRows;
  }

  /** Bytes that wait or are being written. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether a newcomer must wait. One batch may exceed the limits, or a large one could never enter. */
  get isFull(): boolean {
    return (
      this.#heldRows >= this.#limits.maxRows ||
      this.#heldBytes >= this.#limits.maxBytes ||
      this.#waiters.size > 0
    );
  }

  /** Appends, whether there is room or not. */
  push(submission: Submission): void {
    const { records } = submission;
    let bytes = batchBytes;
    for (const record of records) bytes += recordBytes(record);
    this.#batches.push({ submission, bytes });
    this.#queuedRows += records.length;
    this.#heldRows += records.length;
    this.#heldBytes += bytes;
  }

  /** Appends as soon as there is room and it is this one's turn. Rejects with the signal's reason. */
  pushLater(submission: Submission, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        admit: () => {
          this.#waiters.delete(waiter);
          signal.removeEventListener("abort", onAbort);
          this.push(submission);
          resolve();
        },
        refuse: (error) => {
          this.#waiters.delete(waiter);
          signal.removeEventListener("abort", onAbort);
          reject(error as Error);
        },
      };
      const onAbort = (): void => waiter.refuse(signal.reason);
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /**
   * Takes what one flush may hold, in order. What is left out stays in order too: a batch whose device is busy in
   * another flush, or that differs in epoch or stream from what was taken of the same device, and then all later ones
   * of that device.
   */
  take(maxRows: number, maxBytes: number, isBusy: (deviceId: string) => boolean): QueuedBatch[] {
    const taken: QueuedBatch[] = [];
    const kept: QueuedBatch[] = [];
    const first = new Map<string, Submission | undefined>();
    let rows = 0;
    let bytes = 0;
    let index = 0;
    for (; index < this.#batches.length && rows < maxRows && bytes < maxBytes; index++) {
      const batch = this.#batches[index] as QueuedBatch;
      const { submission } = batch;
      const { deviceId } = submission;
      const known = first.get(deviceId);
      let fits: boolean;
      if (known !== undefined) fits = isAlike(known, submission);
      else fits = !first.has(deviceId) && !isBusy(deviceId);
      if (fits) {
        if (known === undefined) first.set(deviceId, submission);
        taken.push(batch);
        rows += submission.records.length;
        bytes += batch.bytes;
      } else {
        first.set(deviceId, undefined);
        kept.push(batch);
      }
    }
    this.#batches = kept.length === 0 ? this.#batches.slice(index) : kept.concat(this.#batches.slice(index));
    this.#queuedRows -= rows;
    return taken;
  }

  /** Takes out all batches that match, wherever they stand. */
  takeWhere(matches: (submission: Submission) => boolean): QueuedBatch[] {
    const taken = this.#batches.filter(({ submission }) => matches(submission));
    if (taken.length === 0) return taken;
    this.#batches = this.#batches.filter(({ submission }) => !matches(submission));
    for (const { submission } of taken) this.#queuedRows -= submission.records.length;
    return taken;
  }

  /** Gives back the room of a batch that was taken, and lets in whoever waits. */
  release({ submission, bytes }: QueuedBatch): void {
    this.#heldRows -= submission.records.length;
    this.#heldBytes -= bytes;
    if (this.#waiters.size === 0) return;
    for (const waiter of this.#waiters) {
      if (this.#heldRows >= this.#limits.maxRows || this.#heldBytes >= this.#limits.maxBytes) return;
      waiter.admit();
    }
  }

  /** Ends the waits of all who are not in. */
  refuseWaiting(error: unknown): void {
    for (const waiter of this.#waiters) waiter.refuse(error);
  }
}

function isAlike(a: Submission, b: Submission): boolean {
  return (
    a.epoch === b.epoch &&
    (a.followsEpoch ?? false) === (b.followsEpoch ?? false) &&
    a.generation === b.generation
  );
}

interface Waiter {
  readonly admit: () => void;
  readonly refuse: (error: unknown) => void;
}

/** Memory of a batch beside its rows. */
const batchBytes = 200;
