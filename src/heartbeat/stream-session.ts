import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { asksTheSame, type Directive } from "./directive.ts";
import type { HeartbeatRejection, IngestResult, Submission } from "./heartbeat-queue.ts";
import { type LeftOut, maxNamedLeftOut, type NamedLeftOut } from "./left-out.ts";

/** What a stream has to say to its device. */
export type StreamOutput =
  | {
      readonly kind: "ack";
      readonly ackedThrough: number;
      /** The epoch that `ackedThrough` counts in. */
      readonly epoch: number;
      readonly rejected: readonly HeartbeatRejection[];
      /** The first ones since the last ack. */
      readonly leftOut: readonly NamedLeftOut[];
      /** All of them. */
      readonly leftOutCount: number;
    }
  | { readonly kind: "directive"; readonly directive: Directive };

/** A batch as it came, after the rules. */
export interface CheckedBatch {
  readonly records: readonly HeartbeatRecord[];
  /** What the rules refused. */
  readonly rejected: readonly HeartbeatRejection[];
  /** What was left out of `records`. */
  readonly leftOut: LeftOut;
  /** The highest sequence in the batch, refused ones included. */
  readonly through: number;
}

/** Which stream it is. */
export interface StreamIdentity {
  readonly deviceId: string;
  readonly epoch: number;
  readonly followsEpoch?: boolean;
  readonly generation: number;
  /** What the device was told to be stored when the stream opened. */
  readonly durableSequence?: number;
}

/**
 * One open stream: what is on its way into the database, and what waits to be sent. Small, because a replica holds
 * many thousands that do nothing: no timers, no buffers, and at most one pending ack, into which later ones merge.
 */
export class StreamSession {
  readonly deviceId: string;
  readonly epoch: number;
  /** Whether the device leaves the epoch to the service, which may begin a new one while the stream is open. */
  readonly followsEpoch: boolean;
  readonly generation: number;
  /** Whether it was noted which boot lives at its other end. */
  isBootSeen = false;
  /** When the device was first asked to slow down and when it last was too fast, in monotonic milliseconds. */
  slowDown: { readonly sinceMs: number; lastMs: number; count: number } | undefined;
  #ackedThrough: number;
  #ackedEpoch: number;
  #rejected: HeartbeatRejection[] = [];
  #leftOut: NamedLeftOut[] = [];
  #leftOutCount = 0;
  #hasAck = false;
  #directives: Directive[] = [];
  #unsettledBatches = 0;
  #unsettledRows = 0;
  #ending = false;
  #failure: { readonly error: unknown } | undefined;
  #wakeWriter: (() => void) | undefined;
  #wakeReader: (() => void) | undefined;

  constructor({ deviceId, epoch, followsEpoch = false, generation, durableSequence = 0 }: StreamIdentity) {
    this.deviceId = deviceId;
    this.epoch = epoch;
    this.followsEpoch = followsEpoch;
    this.generation = generation;
    this.#ackedEpoch = epoch;
    this.#ackedThrough = durableSequence;
  }

  /** Whether it takes no more heartbeats. */
  get isEnding(): boolean {
    return this.#ending || this.#failure !== undefined;
  }

  /** Whether nothing more will come out of it. */
  get isDone(): boolean {
    return this.#ending && this.#unsettledBatches === 0 && !this.#hasAck && this.#directives.length === 0;
  }

  /** Whether the device is too far ahead of its acks: the stream should not be read on before {@link room}. */
  get isCongested(): boolean {
    return (
      !this.isEnding &&
      (this.#unsettledRows >= maxUnsettledRows ||
        this.#unsettledBatches >= maxUnsettledBatches ||
        this.#rejected.length >= maxUnsentRejections)
    );
  }

  /** Makes the submission of a batch, which counts as unsettled from now on; its result becomes part of the next ack. */
  submission(batch: CheckedBatch): Submission {
    this.#unsettledBatches++;
    this.#unsettledRows += sizeOf(batch);
    return new StreamBatch(this, batch);
  }

  /** Queues a directive. The newest of a kind counts; a device that does not read loses the oldest ones. */
  direct(directive: Directive): void {
    if (this.#failure !== undefined) return;
    this.#directives = this.#directives.filter((waiting) => !asksTheSame(waiting, directive));
    if (this.#directives.length >= maxDirectives) this.#directives.shift();
    this.#directives.push(directive);
    this.#wake();
  }

  /** Ends well once all that was received is settled and all that waits is sent. */
  finish(): void {
    this.#ending = true;
    this.#wake();
  }

  /** Ends at once with an error. The first one counts. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  /** The next thing to send; undefined if there is nothing now. Throws what the stream failed with. */
  take(): StreamOutput | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    const directive = this.#directives.shift();
    if (directive !== undefined) return { kind: "directive", directive };
    if (!this.#hasAck) return undefined;
    const rejected = this.#rejected;
    const leftOut = this.#leftOut;
    const leftOutCount = this.#leftOutCount;
    this.#hasAck = false;
    if (leftOutCount > 0) {
      this.#leftOut = [];
      this.#leftOutCount = 0;
    }
    if (rejected.length > 0) {
      this.#rejected = [];
      this.#wakeReaderIfRoom();
    }
    return {
      kind: "ack",
      ackedThrough: this.#ackedThrough,
      epoch: this.#ackedEpoch,
      rejected,
      leftOut,
      leftOutCount,
    };
  }

  /** Resolves when {@link take}, {@link isDone} or a failure may have something new. For one waiter. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeWriter = resolve;
    });
  }

  /** Resolves when the stream is no longer congested, or ends. For one waiter. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = resolve;
    });
  }

  /** For {@link StreamBatch}. */
  settled(batch: CheckedBatch, result: IngestResult): void {
    this.#unsettledBatches--;
    this.#unsettledRows -= sizeOf(batch);
    const { epoch = this.epoch, ackedThrough } = result;
    // What was acknowledged in an epoch before says nothing of this one.
    const before = epoch === this.#ackedEpoch || batch.records.length === 0 ? this.#ackedThrough : 0;
    if (batch.records.length > 0) this.#ackedEpoch = epoch;
    this.#ackedThrough = Math.max(before, ackedThrough, batch.through);
    if (batch.rejected.length > 0) this.#rejected.push(...batch.rejected);
    if (result.rejected.length > 0) this.#rejected.push(...result.rejected);
    if (batch.leftOut.count > 0) {
      this.#leftOutCount += batch.leftOut.count;
      this.#leftOut.push(...batch.leftOut.named.slice(0, maxNamedLeftOut - this.#leftOut.length));
    }
    this.#hasAck = true;
    this.#wake();
  }

  #wake(): void {
    const writer = this.#wakeWriter;
    this.#wakeWriter = undefined;
    writer?.();
    this.#wakeReaderIfRoom();
  }

  #wakeReaderIfRoom(): void {
    const reader = this.#wakeReader;
    if (reader === undefined || this.isCongested) return;
    this.#wakeReader = undefined;
    reader();
  }
}

/** Two full batches: the second travels while the first is written. */
const maxUnsettledRows = 2_000;

/** What was refused takes memory until the device has been told, too. */
function sizeOf({ records, rejected }: CheckedBatch): number {
  return records.length + rejected.length;
}

/** The same for devices that send their heartbeats one by one. */
const maxUnsettledBatches = 256;

/** A device that does not read its acks is not read either. */
const maxUnsentRejections = 1_000;

/** More cannot be meant seriously: there are five kinds, and few updates at a time. */
const maxDirectives = 16;

class StreamBatch implements Submission {
  readonly failFast = false;
  readonly #session: StreamSession;
  readonly #batch: CheckedBatch;

  constructor(session: StreamSession, batch: CheckedBatch) {
    this.#session = session;
    this.#batch = batch;
  }

  get deviceId(): string {
    return this.#session.deviceId;
  }

  get epoch(): number {
    return this.#session.epoch;
  }

  get followsEpoch(): boolean {
    return this.#session.followsEpoch;
  }

  get generation(): number {
    return this.#session.generation;
  }

  get records(): readonly HeartbeatRecord[] {
    return this.#batch.records;
  }

  committed(result: IngestResult): void {
    this.#session.settled(this.#batch, result);
  }

  failed(error: unknown): void {
    this.#session.fail(error);
  }
}
