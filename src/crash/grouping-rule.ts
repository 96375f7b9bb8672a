/** What an operator says belongs together. All conditions must hold; an empty one always does. */
export interface GroupingRule extends RuleConditions {
  readonly id: string;
  /** Of the group that its errors make. */
  readonly title: string;
  /** What makes its errors belong together; rules with the same text share a group. */
  readonly fingerprint: string;
  readonly createdBy: string;
  readonly createdAt: Date;
}

/** Each is text in which `*` stands for any characters. */
export interface RuleConditions {
  readonly code: string;
  readonly fault: string;
  /** Of any of the innermost frames. */
  readonly frame: string;
  readonly message: string;
}

/** What of an error a rule looks at. */
export interface RuleSubject {
  readonly code: string;
  readonly fault: string;
  readonly frames: readonly string[];
  readonly message: string;
}

/** Whether all conditions of a rule hold. */
export function ruleHolds(rule: RuleConditions, subject: RuleSubject): boolean {
  return conditionNames.every((name) => conditionHolds(rule, name, subject));
}

/** The conditions of a rule that do not hold. */
export function failedConditions(rule: RuleConditions, subject: RuleSubject): (keyof RuleConditions)[] {
  return conditionNames.filter((name) => !conditionHolds(rule, name, subject));
}

/** The conditions of a rule for people: `fault *Timeout*, message *broker*`. */
export function conditionsText(rule: RuleConditions): string {
  return conditionNames
    .filter((name) => rule[name] !== "")
    .map((name) => `${name} ${rule[name]}`)
    .join(", ");
}

const conditionNames = ["code", "fault", "frame", "message"] as const satisfies (keyof RuleConditions)[];

function conditionHolds(rule: RuleConditions, name: keyof RuleConditions, subject: RuleSubject): boolean {
  if (name !== "frame") return fits(rule[name], subject[name]);
  return rule.frame === "" || subject.frames.some((frame) => fits(rule.frame, frame));
}

/**
 * Whether a pattern fits a whole text, in any case. The parts between `*` are looked for one behind the other, the first that
 * is found being as good as any, so nothing is gone back over.
 */
function fits(pattern: string, text: string): boolean {
  if (pattern === "") return true;
  const [first = "", ...parts] = pattern.toLowerCase().split("*");
  const whole = text.toLowerCase();
  const last = parts.pop();
  if (last === undefined) return whole === first;
  if (!whole.startsWith(first)) return false;
  let at = first.length;
  for (const part of parts) {
    const found = whole.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return whole.length - last.length >= at && whole.endsWith(last);
}
