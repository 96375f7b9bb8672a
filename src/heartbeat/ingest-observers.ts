import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { Logger } from "../infra/logger.ts";

/** Is told of heartbeats once they are committed. */
export interface DurableHeartbeatObserver {
  /**
   * All that a transaction is about to store, before each attempt; it begins when this is done. Undefined, as nearly always,
   * if there is nothing to wait for. What this throws counts as an outage of the database: nothing is stored, and the
   * attempt is made again.
   */
  prepare?(records: readonly DurableHeartbeat[]): Promise<void> | undefined;

  /**
   * All that a transaction stored, each device's oldest first. Called on the hot path: it must be quick, must not wait
   * and must not throw. After a lost connection the same heartbeats may be reported twice.
   */
  observe(records: readonly DurableHeartbeat[]): void;
}

/** All observers as one, in their order. */
export class HeartbeatObservers {
  readonly #observers: readonly DurableHeartbeatObserver[];
  readonly #logger: Logger;

  constructor(observers: readonly DurableHeartbeatObserver[], logger: Logger) {
    this.#observers = observers;
    this.#logger = logger;
  }

  /** Before a transaction: resolves when it may begin. Rejects with the first error: nothing is to be stored then. */
  async prepare(records: readonly DurableHeartbeat[]): Promise<void> {
    for (const observer of this.#observers) {
      const prepared = observer.prepare?.(records);
      if (prepared !== undefined) await prepared;
    }
  }

  /** After it. One that throws keeps nothing from the others. */
  observe(records: readonly DurableHeartbeat[]): void {
    if (records.length === 0) return;
    for (const observer of this.#observers) {
      try {
        observer.observe(records);
      } catch (error) {
        this.#logger.error({ err: error }, "an observer of heartbeats failed");
      }
    }
  }
}
