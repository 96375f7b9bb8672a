/** One rule of a gate with its value; see the contract's GateCheck. */
export interface GateCheck {
  readonly rule:
    | "min_sample"
    | "min_success_percent"
    | "soak_duration"
    | "require_no_worse_health"
    | "require_approval"
    | "manual";
  readonly holds: boolean;
  readonly required: string;
  readonly actual: string;
  /** What is missing; empty if it holds. */
  readonly message: string;
}

/** A rule with its value; `words` say what is missing. */
export function check(
  rule: GateCheck["rule"],
  holds: boolean,
  required: string,
  actual: string,
  words: () => string = () => "",
): GateCheck {
  return { rule, holds, required, actual, message: holds ? "" : words() };
}

/** A share in percent, to two decimals. */
export function percent(value: number): string {
  return `${Number(value.toFixed(2))} %`;
}

/** A duration in whole seconds, rounded up. */
export function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}
