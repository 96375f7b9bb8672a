import type { RateReports, ReportedCalls } from "../../infra/database/rate-reports.ts";
import type { RateClass } from "./endpoint.ts";
import type { CountedCalls, RateLimiter } from "./rate-limit.ts";

/**
 * The classes that are counted over all replicas: what protects people, secrets, the enrolment and the audit log, which are the same
 * on each of them. Not those of devices: a device is connected to one replica, its calls are the many, and what they cost
 * is memory and time of that replica. Nor probes, which ask each replica about itself.
 */
export const sharedClasses: ReadonlySet<RateClass> = new Set([
  "credential",
  "sign_in",
  "enrol",
  "operator",
  "refusal",
]);

/** What {@link SharedRates} is made of. */
export interface SharedRatesParts {
  readonly rateLimiter: Pick<RateLimiter, "untold" | "hear">;
  readonly reports: Pick<RateReports, "tell" | "hear">;
}

/**
 * Tells the other replicas what was let through here, and counts what they tell. So N replicas together let through the limit and
 * what the others let through before they heard of it, which the limiter takes from the caller's next periods.
 *
 * Not a statement for each call, as rate-limiter-flexible has it on PostgreSQL (7 ms a call by its own figures, against 0.5 us here):
 * whoever floods would load the database through the very limit, and its fixed windows let nearly twice the limit through in
 * a period that spans two of them.
 */
export class SharedRates {
  readonly #parts: SharedRatesParts;

  constructor(parts: SharedRatesParts) {
    this.#parts = parts;
  }

  /**
   * One exchange. If the database does not take what is to be told, it is not told again: by the time that the database is back
   * it is long ago, and each replica has held the limit by its own count.
   */
  async exchange(): Promise<void> {
    const { rateLimiter, reports } = this.#parts;
    const untold = rateLimiter.untold();
    if (untold.length > 0) await reports.tell(reportOf(untold));
    for (const { calls, agoMs } of await reports.hear())
      for (const [rate, key, count] of calls)
        if (isShared(rate)) rateLimiter.hear({ rate, key, calls: count }, agoMs);
  }
}

/** Those who call most, if there are too many: whoever makes a call or two is not who a limit is for. */
function reportOf(untold: CountedCalls[]): ReportedCalls[] {
  const told =
    untold.length > maxCallers
      ? untold.toSorted((one, other) => other.calls - one.calls).slice(0, maxCallers)
      : untold;
  return told.map(({ rate, key, calls }) => [rate, key, calls]);
}

/** A report is some 60 bytes for each. */
const maxCallers = 4_096;

/** A newer version may share others. */
function isShared(rate: string): rate is RateClass {
  return sharedClasses.has(rate as RateClass);
}
