import { Alarm } from "../infra/alarm.ts";

/**
 * Whether the device may use its network now. Closing the gate ends what is under way and holds back what would start,
 * without loss: heartbeats pile up and a download goes on later from where it was.
 */
export class NetworkGate {
  #cut = new AbortController();
  #openAtMs = 0;
  readonly #waiting = new Set<Alarm>();

  /** Aborts when the gate closes. Take it anew after each {@link passed}. */
  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  /** Whether the gate is closed. */
  get closed(): boolean {
    return performance.now() < this.#openAtMs;
  }

  /** Closes the gate for `ms` milliseconds. */
  close(ms: number): void {
    this.#openAtMs = performance.now() + ms;
    const cut = this.#cut;
    this.#cut = new AbortController();
    cut.abort();
  }

  /** Opens the gate before its time. */
  open(): void {
    this.#openAtMs = 0;
    for (const alarm of this.#waiting) alarm.ring();
  }

  /** Resolves once the gate is open, or at once if it is; also when `signal` aborts. */
  async passed(signal: AbortSignal): Promise<void> {
    const alarm = new Alarm();
    this.#waiting.add(alarm);
    try {
      while (this.closed && !signal.aborted) {
        await alarm.wait(this.#openAtMs - performance.now() + 1, signal);
      }
    } finally {
      this.#waiting.delete(alarm);
    }
  }
}
