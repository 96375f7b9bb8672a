import type { FieldViolation } from "../errors.ts";
import { textViolation } from "./value-checks.ts";

/** What a heartbeat holds by names that the device chose. */
type Named<Value> = Readonly<Record<string, Value>>;

/** Finds the first custom metric that the contract does not allow. */
export function metricsViolation(metrics: Named<number>): FieldViolation | undefined {
  return namedViolation(metrics, metricRules);
}

/** Finds the first application that the contract does not allow. */
export function componentsViolation(components: Named<string>): FieldViolation | undefined {
  return namedViolation(components, componentRules);
}

/** The custom metrics that can be kept, undefined for none; what is wrong with the others goes to `note`. */
export function keepableMetrics(metrics: Named<number>, note: Note<number>): Named<number> | undefined {
  return keepable(metrics, metricRules, note);
}

/** The applications that can be kept, undefined for none. */
export function keepableComponents(components: Named<string>, note: Note<string>): Named<string> | undefined {
  return keepable(components, componentRules, note);
}

/** Is told what is wrong, and with which entry; without one it is their number. */
type Note<Value> = (violation: FieldViolation, entry?: readonly [name: string, value: Value]) => void;

interface NamedRules<Value> {
  readonly field: string;
  readonly maxEntries: number;
  readonly name: RegExp;
  readonly nameDescription: string;
  readonly check: (field: string, value: Value) => FieldViolation | undefined;
}

const metricRules: NamedRules<number> = {
  field: "metrics",
  maxEntries: 64,
  name: /^[A-Za-z0-9._/-]{1,64}$/,
  nameDescription: "names must be 1 to 64 of a-z, A-Z, 0-9, dot, underscore, slash and dash",
  check: (field, value) =>
    Number.isFinite(value) ? undefined : { field, description: "must be a finite number" },
};

const componentRules: NamedRules<string> = {
  field: "components",
  maxEntries: 16,
  name: /^[A-Za-z0-9._-]{1,64}$/,
  nameDescription: "names must be 1 to 64 of a-z, A-Z, 0-9, dot, underscore and dash",
  check: (field, version) =>
    version === ""
      ? { field, description: "must not be empty" }
      : textViolation(field, version, maxVersionCharacters),
};

/** Of a version, as everywhere in the contract. */
const maxVersionCharacters = 128;

function namedViolation<Value>(values: Named<Value>, rules: NamedRules<Value>): FieldViolation | undefined {
  let count = 0;
  for (const name in values) {
    if (++count > rules.maxEntries) return tooMany(rules);
    const violation = entryViolation(name, values[name] as Value, rules);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

function entryViolation<Value>(
  name: string,
  value: Value,
  { field, name: pattern, nameDescription, check }: NamedRules<Value>,
): FieldViolation | undefined {
  if (!pattern.test(name)) return { field, description: nameDescription };
  // The path is only written for a value that is named by it.
  const violation = check(field, value);
  return violation && { ...violation, field: `${field}["${name}"]` };
}

function keepable<Value>(
  values: Named<Value>,
  rules: NamedRules<Value>,
  note: Note<Value>,
): Named<Value> | undefined {
  const kept: [string, Value][] = [];
  for (const name in values) {
    const value = values[name] as Value;
    const violation = entryViolation(name, value, rules);
    if (violation !== undefined) note(violation, [name, value]);
    else if (kept.length < rules.maxEntries) kept.push([name, value]);
    else {
      note(tooMany(rules));
      break;
    }
  }
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

function tooMany({ field, maxEntries }: Pick<NamedRules<never>, "field" | "maxEntries">): FieldViolation {
  return { field, description: `must have at most ${maxEntries} entries` };
}
