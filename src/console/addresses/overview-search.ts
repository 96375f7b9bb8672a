import { compact, type RawSearch, searchChoice } from "./search.ts";

/** What the address of the overview holds. */
export interface OverviewSearch {
  /** How far the versions' history goes back; a day unless given. */
  readonly versions?: HistoryRange;
}

/** How far back the versions' history can be shown. */
export const historyRanges = ["24h", "7d", "30d", "1y"] as const;

/** One of {@link historyRanges}. */
export type HistoryRange = (typeof historyRanges)[number];

/** Reads the address of the overview. */
export function overviewSearch(raw: RawSearch): OverviewSearch {
  return compact({ versions: searchChoice(raw, "versions", historyRanges) });
}
