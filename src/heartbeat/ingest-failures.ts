import { asDatabaseError, isDataError, isRetryable } from "../infra/database/errors.ts";
import { IngestFailure } from "./ingest-transaction.ts";

/** What to do about a flush that failed. */
export type FailureKind =
  /** The transaction gave way to another: the same again, soon. */
  | "again"
  /** No partition holds the time of receipt. */
  | "no_partition"
  /** The server refused a value: some row can never be stored. */
  | "bad_row"
  /** The database is away, full or misconfigured: nothing is wrong with the rows, so they are kept. */
  | "outage";

/** Sorts a failure of `storeHeartbeats`. What is not understood counts as an outage: keeping rows loses nothing. */
export function kindOfFailure(error: unknown): FailureKind {
  if (!(error instanceof IngestFailure)) return "bad_row"; // a value that the encoder could not write
  if (isRetryable(error)) return "again";
  if (asDatabaseError(error) !== undefined) return "outage";
  const { code, constraint } = serverErrorOf(error);
  // A row that fits no partition is reported as a check violation, but of no constraint.
  if (code === "23514" && constraint === undefined) return "no_partition";
  return code !== undefined && isDataError(error) ? "bad_row" : "outage";
}

/** What is wrong with a row, in words that may be shown to its device. */
export function describeBadRow(error: unknown): string {
  const { message } = error instanceof IngestFailure ? (error.cause as Error) : (error as Error);
  return `cannot be stored: ${message}`.toWellFormed().slice(0, maxDescriptionLength);
}

const maxDescriptionLength = 200;

function serverErrorOf(error: IngestFailure): { code?: string; constraint?: string } {
  return (error.cause ?? {}) as { code?: string; constraint?: string };
}
