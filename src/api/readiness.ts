import type { Logger } from "pino";
import { OtaError } from "../errors.ts";
import { withTimeLimit } from "../infra/time-limit.ts";

/** Something that must work for the service to be of use. */
export interface ReadinessCheck {
  /** For people and probes, for example `database`. */
  readonly name: string;
  /** Resolves if it works; rejects with the reason if not. */
  check(signal: AbortSignal): Promise<void>;
}

/** The result of all checks. */
export interface ReadinessReport {
  readonly ready: boolean;
  /** `ok`, or what is wrong, by check. */
  readonly checks: Readonly<Record<string, string>>;
}

/**
 * Asks whether the service can do its work. Anybody may ask, so the answer is shared for a second and never asked for
 * twice at once: probes cannot become the load that they watch for.
 */
export class Readiness {
  readonly #checks: readonly ReadinessCheck[];
  readonly #logger: Logger;
  #shared: Promise<ReadinessReport> | undefined;
  /** Until when the answer is shared, by the monotonic clock; without end while it is not known. */
  #sharedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(checks: readonly ReadinessCheck[], logger: Logger) {
    this.#checks = checks;
    this.#logger = logger;
  }

  /** The state as it is, or was within the last second. Never rejects. */
  report(): Promise<ReadinessReport> {
    if (this.#shared === undefined || performance.now() >= this.#sharedUntilMs) {
      this.#sharedUntilMs = Number.POSITIVE_INFINITY;
      this.#shared = this.#ask();
    }
    return this.#shared;
  }

  async #ask(): Promise<ReadinessReport> {
    const results = await Promise.all(this.#checks.map((check) => this.#outcome(check)));
    this.#sharedUntilMs = performance.now() + sharedMs;
    return {
      ready: results.every(([, outcome]) => outcome === "ok"),
      checks: Object.fromEntries(results),
    };
  }

  async #outcome(asked: ReadinessCheck): Promise<[string, string]> {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    const late = () => new OtaError("unavailable", "INTERNAL", "no answer in time");
    try {
      await withTimeLimit(asked.check(signal), checkTimeoutMs, late);
      return [asked.name, "ok"];
    } catch (error) {
      this.#logger.warn({ check: asked.name, err: error }, "not ready");
      // Other errors' texts may hold addresses and paths, and anybody may ask.
      return [asked.name, error instanceof OtaError ? error.message : "failed"];
    }
  }
}

const sharedMs = 1_000;

/** Below the time-outs of usual probes. */
const checkTimeoutMs = 2_000;
