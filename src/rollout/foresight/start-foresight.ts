import { OtaError } from "../../errors.ts";
import type { Foresight, RolloutWarning } from "../model/foresight.ts";
import type { NewRollout } from "../model/new-rollout.ts";
import type { Preview } from "../preview/preview-tally.ts";
import type { RolloutPreview } from "../preview/rollout-preview.ts";
import { rolloutWarnings, type WarningParts } from "./rollout-warnings.ts";

/** What a {@link StartForesight} is made of. */
export interface StartForesightParts extends WarningParts {
  readonly preview: Pick<RolloutPreview, "ofRollout" | "ofNew">;
}

/** Looks ahead for a start, which must neither fail nor wait for long because of that. */
export class StartForesight implements Foresight {
  readonly #parts: StartForesightParts;

  constructor(parts: StartForesightParts) {
    this.#parts = parts;
  }

  ofRollout(rolloutId: string, signal: AbortSignal): Promise<readonly RolloutWarning[]> {
    return this.#look((bounded) => this.#parts.preview.ofRollout(rolloutId, bounded), signal);
  }

  ofNew(wanted: NewRollout, signal: AbortSignal): Promise<readonly RolloutWarning[]> {
    return this.#look((bounded) => this.#parts.preview.ofNew(wanted, bounded), signal);
  }

  async #look(
    count: (signal: AbortSignal) => Promise<Preview>,
    caller: AbortSignal,
  ): Promise<readonly RolloutWarning[]> {
    try {
      const preview = await count(AbortSignal.any([caller, AbortSignal.timeout(patienceMs)]));
      return await rolloutWarnings(preview, this.#parts);
    } catch (error) {
      caller.throwIfAborted();
      // What is refused here the start will refuse as well, with the same words.
      return error instanceof OtaError && refusals.has(error.code) ? [] : [notCounted];
    }
  }
}

const refusals: ReadonlySet<OtaError["code"]> = new Set([
  "invalid_argument",
  "not_found",
  "failed_precondition",
]);

/** A million devices take a second or two. */
const patienceMs = 5_000;

const notCounted: RolloutWarning = {
  code: "NOT_COUNTED",
  message:
    "the fleet could not be counted in time, so what else there is to know is not told; preview the rollout later",
  count: 0,
  subject: "",
  remedies: [],
};
