import { compact, type RawSearch, searchChoice, searchText } from "./search.ts";

/** What the list of rollouts can be narrowed to. */
export const rolloutFilters = ["active", "over", "draft", "archived"] as const;

/** The address of the list of rollouts. */
export interface RolloutListSearch {
  readonly show?: (typeof rolloutFilters)[number];
}

/** Reads {@link RolloutListSearch}; what it does not know is dropped. */
export function rolloutListSearch(raw: RawSearch): RolloutListSearch {
  return compact({ show: searchChoice(raw, "show", rolloutFilters) });
}

/** Which of a rollout's devices are listed. */
export const deviceFilters = ["busy", "succeeded", "failed", "missing", "drifted", "called-off"] as const;

/** The address of one rollout. */
export interface RolloutSearch {
  readonly devices?: (typeof deviceFilters)[number];
  readonly ring?: string;
  readonly reason?: string;
}

/** Reads {@link RolloutSearch}. */
export function rolloutSearch(raw: RawSearch): RolloutSearch {
  return compact({
    devices: searchChoice(raw, "devices", deviceFilters),
    ring: searchText(raw, "ring"),
    reason: searchText(raw, "reason"),
  });
}

/** The address of the wizard: the firmware that it begins with. */
export interface RolloutNewSearch {
  readonly firmware?: string;
}

/** Reads {@link RolloutNewSearch}. */
export function rolloutNewSearch(raw: RawSearch): RolloutNewSearch {
  return compact({ firmware: searchText(raw, "firmware") });
}
