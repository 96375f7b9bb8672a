/**
 * A PostgreSQL array in text, of values that need no quotes: ids, states, numbers, and times as ISO 8601 has them. Many
 * times quicker than pg, which has to look at each character.
 */
export function plainArray(values: readonly (string | number | Date | null | undefined)[]): string {
  return `{${values.map((value) => (value instanceof Date ? value.toISOString() : (value ?? "NULL"))).join(",")}}`;
}
