/** How a rollout's updated devices fare against the others. */
export interface RolloutHealthVerdict {
  readonly verdict: "NOT_ENOUGH_DATA" | "NO_WORSE" | "WORSE";
  /** In words, with the numbers. */
  readonly message: string;
}

/** Says how rollouts' devices fare; undefined as long as nothing is known. */
export interface RolloutHealthSource {
  verdictOf(rolloutId: string): RolloutHealthVerdict | undefined;
}
