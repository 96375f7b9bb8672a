/** Something that changes now and then, and those who wait for its next change. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Wakes all who wait. */
  tell(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Waits for the next change; false if the signal aborts first. Never rejects. */
  next(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve(!signal.aborted);
      };
      if (signal.aborted) return done();
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}
