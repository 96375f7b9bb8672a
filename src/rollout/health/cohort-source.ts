import type { DeviceSnapshot } from "../../device/state/device-snapshot.ts";
import type { DurableHeartbeat } from "../../device/state/heartbeat-record.ts";
import { isPinnedCanary } from "../model/ring-place.ts";
import { versionOf } from "../model/version-of.ts";
import type { RolloutIndex } from "../offer/rollout-index.ts";
import type { UpdateTracker } from "../proof/update-tracker.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import type { OfferFacts } from "../rules/rule.ts";
import { targetingRules } from "../rules/targeting-rules.ts";
import { versionFacts } from "../rules/version-facts.ts";
import type { CohortSource, ComparedRollout } from "./health-watch.ts";
import type { CohortSide } from "./rollout-cohorts.ts";

/** What {@link RolloutCohortSource} reads. */
export interface CohortSourceParts {
  readonly index: Pick<RolloutIndex, "candidates" | "get">;
  readonly tracker: Pick<UpdateTracker, "get">;
  readonly facts: OfferFacts;
}

/**
 * Tells sides by what is in memory: a device at an update is on neither side until it is verified; from then on it is an
 * updated one. Devices that are targeted and run another version are the control group. Pinned
 * devices are on neither side: they were picked by hand, and only what was drawn by lot can be compared.
 */
export class RolloutCohortSource implements CohortSource {
  readonly #parts: CohortSourceParts;

  constructor(parts: CohortSourceParts) {
    this.#parts = parts;
  }

  rolloutsOf(device: DeviceSnapshot): readonly ComparedRollout[] {
    const candidates = this.#parts.index.candidates(device.deviceType);
    if (candidates.length === 0 || device.updatePin === "excluded" || device.standing !== "admitted")
      return none;
    const compared: ComparedRollout[] = [];
    for (const candidate of candidates) {
      if (!isUnderWay(candidate) || isPinnedCanary(candidate, device)) continue;
      if (this.#holds(lastingRules, candidate, device)) compared.push(comparedRollout(candidate));
    }
    return compared;
  }

  sideOf(rolloutId: string, record: DurableHeartbeat, device: DeviceSnapshot): CohortSide {
    const { index, tracker } = this.#parts;
    // Until it is verified, its failures are counted as such and by themselves.
    if (tracker.get(record.deviceId) !== undefined) return "neither";
    const compiled = index.get(rolloutId);
    if (compiled === undefined) return "neither";
    if (versionFacts(compiled, versionOf(record, compiled.component)).order === 0) return "updated";
    return this.#holds(passingRules, compiled, device) ? "control" : "neither";
  }

  get(rolloutId: string): ComparedRollout | undefined {
    const compiled = this.#parts.index.get(rolloutId);
    return compiled !== undefined && isUnderWay(compiled) ? comparedRollout(compiled) : undefined;
  }

  #holds(rules: typeof targetingRules, compiled: CompiledRollout, device: DeviceSnapshot): boolean {
    return rules.every((rule) => rule.judge(compiled, device, this.#parts.facts) === undefined);
  }
}

/** Rules whose outcome the update itself may change: they tell who is a fair comparison, not who was updated. */
const passing: ReadonlySet<string> = new Set(["current_version_range", "filter"]);

const passingRules = targetingRules.filter(({ name }) => passing.has(name));

const lastingRules = targetingRules.filter(({ name }) => !passing.has(name));

const none: readonly ComparedRollout[] = [];

function isUnderWay({ rollout: { state } }: CompiledRollout): boolean {
  return state === "RUNNING" || state === "PAUSED";
}

function comparedRollout({ id, rollout }: CompiledRollout): ComparedRollout {
  return { id, alpha: rollout.policy.healthAlpha };
}
