/** What a change did to a field, as details of an audit event: `from_<name>` and `to_<name>`, of long values the beginning. */
export function fromTo(name: string, before: unknown, after: unknown): Record<string, string> {
  return { [`from_${name}`]: textOf(before), [`to_${name}`]: textOf(after) };
}

function textOf(value: unknown): string {
  const text = plainText(value);
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`;
}

function plainText(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plainText).join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value as number | bigint | boolean);
}

/** Enough for a paragraph of release notes or a few metadata; the event is kept for ever. */
const maxLength = 1_000;
