import type { HeartbeatRejection, QueuedBatch } from "./heartbeat-queue.ts";

/** A batch in a flush: what became of it so far, and that its submitter is told once. */
export class FlushJob {
  readonly batch: QueuedBatch;
  readonly #release: (batch: QueuedBatch) => void;
  /** How far the device's heartbeats are stored, as far as the submitter is told, in {@link #epoch}. */
  #mark = 0;
  #epoch = 0;
  readonly #rejected: HeartbeatRejection[] = [];
  #error: unknown;
  #isSettled = false;

  /** @param release called before the submitter is told */
  constructor(batch: QueuedBatch, release: (batch: QueuedBatch) => void) {
    this.batch = batch;
    this.#release = release;
  }

  /** Whether the submitter was told. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Whether nothing more of it is to be stored. */
  get isOver(): boolean {
    return this.#isSettled || this.#error !== undefined;
  }

  /** The device's heartbeats are stored up to a mark of an epoch. */
  storedThrough(epoch: number, mark: number): void {
    this.#mark = epoch === this.#epoch ? Math.max(this.#mark, mark) : mark;
    this.#epoch = epoch;
  }

  /** Some heartbeats are refused for good; `through`: the device need not send again what it sent up to there. */
  reject(rejections: readonly HeartbeatRejection[], through = 0): void {
    this.#rejected.push(...rejections);
    this.#mark = Math.max(this.#mark, through);
  }

  /** The batch as a whole cannot be stored. */
  fail(error: unknown): void {
    this.#error = error;
  }

  /** Gives it up, unless it came to an end. */
  abandon(error: unknown): void {
    this.#error ??= error;
    this.settle();
  }

  /** Tells the submitter, once. */
  settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#release(this.batch);
    const { submission } = this.batch;
    if (this.#error !== undefined) submission.failed(this.#error);
    else {
      submission.committed({
        ackedThrough: this.#mark,
        rejected: this.#rejected,
        ...(this.#epoch === 0 || this.#epoch === submission.epoch ? {} : { epoch: this.#epoch }),
      });
    }
  }
}
