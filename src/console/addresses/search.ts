/** What the address bar holds, unchecked. */
export type RawSearch = Readonly<Record<string, unknown>>;

/** A text of the address, or undefined for none. */
export function searchText(raw: RawSearch, key: string): string | undefined {
  const value = raw[key];
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** One of a few words, or undefined. */
export function searchChoice<T extends string>(
  raw: RawSearch,
  key: string,
  choices: readonly T[],
): T | undefined {
  const value = raw[key];
  return choices.find((choice) => choice === value);
}

/** A switch that is on, or undefined. */
export function searchFlag(raw: RawSearch, key: string): true | undefined {
  return raw[key] === true || raw[key] === "true" ? true : undefined;
}

/** Without the keys whose value is undefined, so that the address stays short and optional properties are absent. */
export function compact<T extends object>(search: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as never;
}
