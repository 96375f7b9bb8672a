import { ringIndex } from "../model/ring-place.ts";
import { chooseRollout } from "../offer/offer-decision.ts";
import { allRules } from "../rules/all-rules.ts";
import type { CompiledRollout } from "../rules/compiled-rollout.ts";
import type { CheckedDevice, NoOfferReason, OfferFacts, RuleWords } from "../rules/rule.ts";

/** A rule with its outcome for one device. */
interface ExplainedRule extends RuleWords {
  readonly name: string;
  readonly holds: boolean;
}

/** Why a device without an open update gets a rollout's update, or why it does not. */
export interface Explanation {
  /** Undefined if it would be offered the update. */
  readonly reason: NoOfferReason | undefined;
  /** The outcome in words. */
  readonly message: string;
  readonly rules: readonly ExplainedRule[];
  /** The name of its ring; empty if it is not targeted. */
  readonly ring: string;
}

/**
 * Explains one rollout to people by the very rules that decide, and in their order. `rollouts` are all that a device of this
 * type may be offered, in the order of preference: what goes before this one is part of the answer.
 */
export function explainRollout(
  rollout: CompiledRollout,
  device: CheckedDevice,
  rollouts: readonly CompiledRollout[],
  facts: OfferFacts,
): Explanation {
  let reason: NoOfferReason | undefined;
  let message = "";
  let targeted = true;
  const rules = allRules.map((rule): ExplainedRule => {
    const against = rule.judge(rollout, device, facts);
    const words = rule.words(rollout, device, facts, against);
    if (against !== undefined) {
      if (reason === undefined) message = words.message;
      reason ??= against;
      if (rule.scope === "targeting" || against === "NOT_TARGETED") targeted = false;
    }
    return { name: rule.name, holds: against === undefined, ...words };
  });
  const ring = targeted ? (rollout.rings[ringIndex(rollout, device)]?.name ?? "") : "";
  if (reason !== undefined) return { reason, message, rules, ring };
  const chosen = chooseRollout(device, rollouts, facts);
  if (chosen === undefined || chosen.rollout.id === rollout.id)
    return { reason, message: "The device would be offered the update now.", rules, ring };
  const first = `Rollout ${chosen.rollout.rollout.name} (${chosen.rollout.id}) goes first.`;
  return {
    reason: "OUTRANKED",
    message: first,
    rules: rules.map((rule) =>
      rule.name === "priority"
        ? { ...rule, holds: false, actual: chosen.rollout.rollout.name, message: first }
        : rule,
    ),
    ring,
  };
}
