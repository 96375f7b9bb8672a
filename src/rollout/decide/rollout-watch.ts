import { OtaError } from "../../errors.ts";
import { Alarm } from "../../infra/alarm.ts";
import type { Rollout } from "../model/rollout.ts";
import { isFinalRollout } from "../model/rollout-state.ts";

/** What a {@link RolloutWatch} is made of. */
export interface RolloutWatchParts {
  readonly read: (id: string) => Promise<Rollout>;
  /** Changes within this time are sent as one; 200 ms unless given: at most five snapshots a second. */
  readonly minIntervalMs?: number;
}

/** Lets callers follow rollouts. Reads only when something changed, and for changes on other replicas about every second. */
export class RolloutWatch {
  readonly #read: (id: string) => Promise<Rollout>;
  readonly #minIntervalMs: number;
  readonly #waiters = new Map<string, Set<() => void>>();
  #watchers = 0;

  constructor({ read, minIntervalMs = 200 }: RolloutWatchParts) {
    this.#read = read;
    this.#minIntervalMs = minIntervalMs;
  }

  /** How many callers follow a rollout. */
  get size(): number {
    return this.#watchers;
  }

  /** A rollout, or how its devices fare, changed. */
  changed(rolloutId: string): void {
    for (const wake of this.#waiters.get(rolloutId) ?? []) wake();
  }

  /**
   * The rollout now, and again after each change, until it reaches a final state or the signal aborts. `NOT_FOUND`;
   * `TOO_MANY_STREAMS` past {@link maxWatchers}.
   */
  async *watch(id: string, signal: AbortSignal): AsyncGenerator<Rollout> {
    if (this.#watchers >= maxWatchers) {
      throw new OtaError("resource_exhausted", "TOO_MANY_STREAMS", "too many callers follow rollouts", {
        retryAfterMs: 5_000,
      });
    }
    this.#watchers += 1;
    try {
      let sent = "";
      while (!signal.aborted) {
        const rollout = await this.#read(id);
        const snapshot = JSON.stringify(rollout);
        if (snapshot !== sent) yield rollout;
        sent = snapshot;
        if (isFinalRollout(rollout.state)) return;
        await this.#pause(id, signal);
      }
    } finally {
      this.#watchers -= 1;
    }
  }

  /** Waits for the next change, or for a while without one, but at least for the least interval. */
  async #pause(id: string, signal: AbortSignal): Promise<void> {
    const change = new Alarm();
    const wake = (): void => change.ring();
    const waiters = this.#waiters.get(id) ?? new Set();
    this.#waiters.set(id, waiters);
    waiters.add(wake);
    try {
      await new Alarm().wait(this.#minIntervalMs, signal);
      await change.wait(pollMs, signal);
    } finally {
      waiters.delete(wake);
      if (waiters.size === 0 && this.#waiters.get(id) === waiters) this.#waiters.delete(id);
    }
  }
}

/** Followers on one replica: each holds a stream and reads a rollout at most five times a second. */
const maxWatchers = 1_000;

/** Other replicas write counters without a notice. */
const pollMs = 1_000;
