import type { Clock } from "../../infra/clock.ts";

/** How many heartbeats become durable on this replica per second, over the last ten whole seconds. */
export class HeartbeatRate {
  readonly #clock: Clock;
  /** One more than are averaged: the second that is under way. */
  readonly #counts = new Float64Array(averagedSeconds + 1);
  #second = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#second = this.#nowSecond();
  }

  /** Takes heartbeats that are stored. */
  observe(records: { readonly length: number }): void {
    this.#advance();
    const slot = this.#second % this.#counts.length;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + records.length;
  }

  /** The rate now. */
  perSecond(): number {
    this.#advance();
    const current = this.#counts[this.#second % this.#counts.length] ?? 0;
    const sum = this.#counts.reduce((a, b) => a + b, 0);
    return (sum - current) / averagedSeconds;
  }

  #advance(): void {
    const now = this.#nowSecond();
    const steps = Math.min(now - this.#second, this.#counts.length);
    for (let step = 0; step < steps; step++) this.#counts[(now - step) % this.#counts.length] = 0;
    this.#second = now;
  }

  #nowSecond(): number {
    return Math.floor(this.#clock.monotonicMs() / 1_000);
  }
}

const averagedSeconds = 10;
