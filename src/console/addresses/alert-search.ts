import { compact, type RawSearch, searchChoice, searchText } from "./search.ts";

/** Which alerts the list shows, beside those that nobody has taken note of. */
export const alertFilters = ["acknowledged", "ended"] as const;

/** The address of the list of alerts. By default: those that fire and nobody has acknowledged, by any rule. */
export interface AlertSearch {
  readonly show?: (typeof alertFilters)[number];
  readonly rule?: string;
}

/** Reads {@link AlertSearch}; what it does not know is dropped. */
export function alertSearch(raw: RawSearch): AlertSearch {
  return compact({ show: searchChoice(raw, "show", alertFilters), rule: searchText(raw, "rule") });
}
