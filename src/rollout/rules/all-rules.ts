import { progressRules } from "./progress-rules.ts";
import { readinessRules } from "./readiness-rules.ts";
import type { Rule } from "./rule.ts";
import { targetingRules } from "./targeting-rules.ts";

/** Every rule of an offer, in the order in which they are judged: the first that fails is the reason. */
export const allRules: readonly Rule[] = [...targetingRules, ...progressRules, ...readinessRules];
