/** A sleep that can be cut short, for a loop that waits for the next time or for a reason to look earlier. */
export class Alarm {
  #rung = false;
  #wake: (() => void) | undefined;

  /** Ends the present wait, or the next one if nobody waits. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Waits `ms` milliseconds, for the bell or for the signal, whichever comes first. Never rejects. One waiter at a time. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#wake = undefined;
        this.#rung = false;
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, maxTimerMs));
      if (this.#rung || signal.aborted) return done();
      this.#wake = done;
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** `setTimeout` fires at once for longer times. */
const maxTimerMs = 2 ** 31 - 1;
