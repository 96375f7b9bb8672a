/** What {@link NewestPerDevice} is made of. */
export interface NewestPerDeviceParts<T> {
  /** Writes values of different devices, in the order of the devices' ids, at most {@link maxBatch} of them. */
  readonly write: (batch: readonly T[]) => Promise<void>;
  /** Is told that a batch could not be written; it and what would have followed it are dropped. */
  readonly failed: (error: unknown) => void;
  /** How often what waits is written; a second unless given. */
  readonly flushIntervalMs?: number | undefined;
}

/**
 * Holds the newest value of each device and writes many at a time, one batch after the other. For what a device says
 * again by itself: what cannot be written, or does not fit, is dropped.
 */
export class NewestPerDevice<T extends { readonly deviceId: string }> implements AsyncDisposable {
  readonly #parts: NewestPerDeviceParts<T>;
  #waiting = new Map<string, T>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(parts: NewestPerDeviceParts<T>) {
    this.#parts = parts;
  }

  /** Takes a device's value in place of the one that waits. */
  add(value: T): void {
    if (this.#closed || (this.#waiting.size >= maxWaiting && !this.#waiting.has(value.deviceId))) return;
    this.#waiting.set(value.deviceId, value);
    this.#timer ??= setTimeout(() => void this.flush(), this.#parts.flushIntervalMs ?? 1_000).unref();
  }

  /** Writes what waits now. Never throws. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const values = [...this.#waiting.values()].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
    this.#waiting = new Map();
    this.#writing = this.#writing.then(() => this.#write(values));
    await this.#writing;
  }

  /** Writes what waits and takes no more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  async #write(values: readonly T[]): Promise<void> {
    try {
      for (let start = 0; start < values.length; start += maxBatch) {
        await this.#parts.write(values.slice(start, start + maxBatch));
      }
    } catch (error) {
      this.#parts.failed(error);
    }
  }
}

/** As many devices as may come back at once after an outage. */
const maxWaiting = 100_000;

/** Rows of one statement. */
const maxBatch = 1_000;
