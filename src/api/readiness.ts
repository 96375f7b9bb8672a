import type { Logger } from "pino";
import { OtaError } from "../errors.ts";
import { withTimeLimit } from "../infra/time-limit.ts";

/** Something that must work for the service to be of use. */
export interface ReadinessCheck {
  /** For people and probes, for example `database`. */
  readonly name: string;
  /** Resolves if it works; rejects with the reason if not. */
  check(signal: AbortSignal): Promise<void>;
  /** For how long a success counts before it is asked again, in milliseconds, if asking costs something. */
  readonly goodForMs?: number;
}

/** The result of all checks. */
export interface ReadinessReport {
  readonly ready: boolean;
  /** `ok`, or what is wrong and since when, by check. */
  readonly checks: Readonly<Record<string, string>>;
}

/**
 * Asks whether the service can do its work. Anybody may ask, so the answer is shared for a second and never asked for
 * twice at once: probes cannot become the load that they watch for.
 */
export class Readiness {
  readonly #checks: readonly WatchedCheck[];
  #shared: Promise<ReadinessReport> | undefined;
  /** Until when the answer is shared, by the monotonic clock; without end while it is not known. */
  #sharedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(checks: readonly ReadinessCheck[], logger: Logger) {
    this.#checks = checks.map((check) => new WatchedCheck(check, logger));
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
    const outcomes = await Promise.all(
      this.#checks.map(async (check) => [check.name, await check.outcome()] as const),
    );
    this.#sharedUntilMs = performance.now() + sharedMs;
    return {
      ready: outcomes.every(([, outcome]) => outcome === "ok"),
      checks: Object.fromEntries(outcomes),
    };
  }
}

/** A check that knows since when it fails. */
class WatchedCheck {
  readonly #check: ReadinessCheck;
  readonly #logger: Logger;
  #failingSince: Date | undefined;
  #goodUntilMs = Number.NEGATIVE_INFINITY;

  constructor(check: ReadinessCheck, logger: Logger) {
    this.#check = check;
    this.#logger = logger;
  }

  get name(): string {
    return this.#check.name;
  }

  /** `ok`, or what is wrong and since when. */
  async outcome(): Promise<string> {
    const { name, goodForMs = 0 } = this.#check;
    if (performance.now() < this.#goodUntilMs) return "ok";
    const signal = AbortSignal.timeout(checkTimeoutMs);
    const late = () => new OtaError("unavailable", "INTERNAL", "no answer in time");
    try {
      await withTimeLimit(this.#check.check(signal), checkTimeoutMs, late);
      this.#goodUntilMs = performance.now() + goodForMs;
      if (this.#failingSince !== undefined)
        this.#logger.info({ check: name, since: this.#failingSince }, "ready again");
      this.#failingSince = undefined;
      return "ok";
    } catch (error) {
      // Other errors' texts may hold addresses and paths, and anybody may ask.
      // Of a check that ended by the signal as well as of one that goes on.
      const told = signal.aborted && error === signal.reason ? late() : error;
      const failure = told instanceof OtaError ? told.message : "failed";
      // Once, not at each question.
      if (this.#failingSince === undefined) this.#logger.warn({ check: name, err: error }, "not ready");
      this.#failingSince ??= new Date();
      return `${failure} (since ${this.#failingSince.toISOString()})`;
    }
  }
}

const sharedMs = 1_000;

/** Below the time-outs of usual probes. */
const checkTimeoutMs = 2_000;
