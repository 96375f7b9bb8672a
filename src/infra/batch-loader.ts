import { OtaError } from "../errors.ts";
import { forEverybody } from "./reader.ts";

/** How a {@link BatchLoader} loads, and how much at once. */
export interface BatchLoaderOptions<Value> {
  /** Loads many at once; what the answer leaves out does not exist. Must end by itself, for example by a statement timeout. */
  readonly load: (keys: readonly string[]) => Promise<ReadonlyMap<string, Value>>;
  /**
   * Told once for each key whose load ends, before its callers are, and also when these have gone away: the place to
   * remember the value. Undefined if there is none or the load failed.
   */
  readonly settled?: (key: string, value: Value | undefined) => void;
  /** The most keys of one load. */
  readonly maxBatch: number;
  /** The most keys that may be loading or waiting; more are refused with `QUEUE_FULL`, so that memory stays bounded. */
  readonly maxPending: number;
}

/**
 * Turns many small reads into few large ones: what is asked for in one turn of the event loop, or while a load is under
 * way, is loaded together, and a key that is asked for twice is loaded once. A thousand devices that come back at once
 * cost a handful of statements instead of a thousand.
 */
export class BatchLoader<Value> {
  readonly #options: BatchLoaderOptions<Value>;
  readonly #pending = new Map<string, PendingLoad<Value>>();
  #waiting: string[] = [];
  #running = 0;
  #scheduled = false;

  constructor(options: BatchLoaderOptions<Value>) {
    this.#options = options;
  }

  /** Loads the value of a key, or undefined if it has none. Aborting the signal ends the wait, not the load. */
  async get(key: string, signal?: AbortSignal): Promise<Value | undefined> {
    signal?.throwIfAborted();
    const load = this.#pending.get(key) ?? this.#enqueue(key);
    return signal === undefined ? await load.promise : await unlessAborted(load.promise, signal);
  }

  /** Says that a key's value changed: a load of it that is under way is made again, so that nobody gets the old value. */
  changed(key: string): void {
    const load = this.#pending.get(key);
    if (load?.started) load.again = true;
  }

  /** Whether a key is loading or waiting. */
  isLoading(key: string): boolean {
    return this.#pending.has(key);
  }

  /** How many keys are loading or waiting. */
  get size(): number {
    return this.#pending.size;
  }

  #enqueue(key: string): PendingLoad<Value> {
    if (this.#pending.size >= this.#options.maxPending) {
      throw new OtaError("resource_exhausted", "QUEUE_FULL", "too many lookups are waiting; try again soon", {
        retryAfterMs: 1_000,
      });
    }
    const load: PendingLoad<Value> = {
      ...Promise.withResolvers<Value | undefined>(),
      started: false,
      again: false,
    };
    // Each caller sees the failure; this keeps it from counting as unhandled when all of them have gone away.
    load.promise.catch(() => undefined);
    this.#pending.set(key, load);
    this.#wait(key);
    return load;
  }

  #wait(key: string): void {
    this.#waiting.push(key);
    if (this.#scheduled || this.#running >= maxRunning) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#waiting.length > 0 && this.#running < maxRunning) {
      const keys = this.#waiting.slice(0, this.#options.maxBatch);
      this.#waiting = this.#waiting.slice(keys.length);
      this.#running++;
      for (const key of keys) this.#loadOf(key).started = true;
      void this.#run(keys);
    }
  }

  async #run(keys: readonly string[]): Promise<void> {
    try {
      const values = await forEverybody(() => this.#options.load(keys));
      for (const key of keys) this.#settle(key, values.get(key));
    } catch (error) {
      for (const key of keys) {
        const load = this.#loadOf(key);
        this.#pending.delete(key);
        this.#options.settled?.(key, undefined);
        load.reject(error);
      }
    } finally {
      this.#running--;
      this.#start();
    }
  }

  #settle(key: string, value: Value | undefined): void {
    const load = this.#loadOf(key);
    if (load.again) {
      load.again = false;
      load.started = false;
      this.#waiting.push(key);
      return;
    }
    this.#pending.delete(key);
    this.#options.settled?.(key, value);
    load.resolve(value);
  }

  #loadOf(key: string): PendingLoad<Value> {
    const load = this.#pending.get(key);
    if (load === undefined) throw new Error("a load was settled twice");
    return load;
  }
}

/** Two: while the answer of one load is worked off, the database works on the next. More would only take connections. */
const maxRunning = 2;

interface PendingLoad<Value> extends PromiseWithResolvers<Value | undefined> {
  started: boolean;
  again: boolean;
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
