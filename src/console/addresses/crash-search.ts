import { compact, type RawSearch, searchChoice, searchFlag, searchText } from "./search.ts";

/** Where groups stand that the list shows. */
export const crashStates = ["open", "resolved", "ignored", "all"] as const;

/** How new groups must be. */
export const crashAges = ["24h", "7d", "30d"] as const;

/** The orders of the list, as the contract names them. */
export const crashOrders = [
  "last_seen_time desc",
  "first_seen_time desc",
  "occurrence_count desc",
  "device_count desc",
] as const;

/** The address of the list of error groups. By default: open ones, the latest seen first. */
export interface CrashListSearch {
  readonly state?: (typeof crashStates)[number];
  readonly fatal?: true;
  readonly version?: string;
  readonly type?: string;
  readonly new?: (typeof crashAges)[number];
  readonly text?: string;
  readonly order?: (typeof crashOrders)[number];
}

/** The address of the rules of grouping: the error group whose newest occurrence is the example for a new rule. */
export interface GroupingRulesSearch {
  readonly example?: string;
}

/** Reads {@link GroupingRulesSearch}. */
export function groupingRulesSearch(raw: RawSearch): GroupingRulesSearch {
  return compact({ example: searchText(raw, "example") });
}

/** Reads {@link CrashListSearch}; what it does not know is dropped. */
export function crashListSearch(raw: RawSearch): CrashListSearch {
  return compact({
    state: searchChoice(raw, "state", crashStates),
    fatal: searchFlag(raw, "fatal"),
    version: searchText(raw, "version"),
    type: searchText(raw, "type"),
    new: searchChoice(raw, "new", crashAges),
    text: searchText(raw, "text"),
    order: searchChoice(raw, "order", crashOrders),
  });
}
