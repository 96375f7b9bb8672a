import { OtaError } from "../../errors.ts";
import { retry } from "../back-off.ts";
import type { Logger } from "../logger.ts";
import { asDatabaseError } from "./errors.ts";

/** How long to wait for a database. */
export interface FirstAnswerOptions {
  readonly waitMs: number;
  readonly logger: Logger;
  /** Ends the wait; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * What `open` opens, as soon as the database lets it: service and database often start together, and a failover takes its
 * time. The log says every few seconds what is waited for. After {@link FirstAnswerOptions.waitMs} it throws
 * DATABASE_UNAVAILABLE, and at once whatever waiting does not mend, such as a wrong password.
 */
export async function whenDatabaseAnswers<T>(
  open: () => Promise<T>,
  { waitMs, logger, signal }: FirstAnswerOptions,
): Promise<T> {
  const startedMs = performance.now();
  return await retry(open, {
    baseMs: firstPauseMs,
    capMs: longestPauseMs,
    signal,
    isWorthRetrying: (error) => {
      const outage = error instanceof OtaError ? error : asDatabaseError(error);
      if (outage?.reason !== "DATABASE_UNAVAILABLE") return false;
      const waitedMs = performance.now() - startedMs;
      if (waitedMs >= waitMs) return false;
      logger.warn(
        { err: error, waited: Math.round(waitedMs / 1_000), of: waitMs / 1_000 },
        `waiting for the database: ${outage.message}`,
      );
      return true;
    },
  });
}

const firstPauseMs = 500;
const longestPauseMs = 3_000;
