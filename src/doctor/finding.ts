/** What one look at the service's surroundings found. */
export interface Finding {
  /** What was looked at, for example `database`. */
  readonly subject: string;
  /** `fault`: the service cannot start or work like this. `warning`: it works, and something will go wrong one day. */
  readonly verdict: "ok" | "warning" | "fault";
  readonly message: string;
  /** What to do about it; undefined if nothing need be done. */
  readonly remedy?: string;
}

/** The words of whatever was thrown, its cause included. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  // A connection to a name with several addresses fails with one error for each, and no message of its own.
  const parts = error instanceof AggregateError ? error.errors.map(reasonOf).join("; ") : "";
  return `${error.message}${cause}${error.message === "" ? parts : ""}`;
}
