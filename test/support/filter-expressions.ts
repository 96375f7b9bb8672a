import { type FieldKind, fieldComparators } from "../../src/filter/filter.ts";
import type { ListFilter } from "../../src/filter/list-filter.ts";

/** Expressions that ask all that the filter of a list can be asked, in few texts. */
export function filterExpressions(filter: ListFilter): string[] {
  return joined([...tests(filter), "bare", "NOT bare"]);
}

const values: Readonly<Record<Exclude<FieldKind, "choice">, readonly string[]>> = {
  id: ["0199aaaa-0000-7000-8000-000000000000"],
  text: ["a", '"a*"', '"*a"', '"*a*"'],
  list: ["a", '"a*"'],
  text_map: ["a", '"*a"'],
  version_map: [],
  time: [
    '"2026-01-01T00:00:00Z"',
    "ago(7d)",
    // The first and the last that can be written; the millisecond of the last ends in the year 10000.
    '"0000-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59.999Z"',
    '"9999-12-31T23:59:59.999-23:59"',
  ],
  number: ["5", "1e300"],
  flag: ["true"],
  version: ["1.0.0", '"1.*"', "x"],
};

/** Every comparator of every field with each of its values that it takes. */
function tests(filter: ListFilter): string[] {
  return [...filter.fields.values()].flatMap(({ name, kind, values: choices = [] }) => {
    const field = kind === "text_map" ? `${name}.key` : name;
    const examples = kind === "choice" ? choices : values[kind];
    const asked = fieldComparators[kind].flatMap((comparator) => [
      ...examples.map((value) => `${field} ${comparator} ${value}`),
      ...(comparator === ":" ? [`${name}:*`, `${field}:*`] : []),
    ]);
    return asked.filter((test) => {
      try {
        return filter.read(test) !== undefined;
      } catch {
        return false;
      }
    });
  });
}

/** Joined to few that are as long as they may be: each is a statement. */
function joined(tests: readonly string[]): string[] {
  const filters: string[] = [];
  for (const test of tests) {
    const last = filters.at(-1);
    if (last === undefined || last.length + test.length > 1_900 || last.split(" OR ").length >= 90)
      filters.push(test);
    else filters[filters.length - 1] = `${last} OR ${test}`;
  }
  return filters;
}
