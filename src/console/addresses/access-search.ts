import { compact, type RawSearch, searchChoice } from "./search.ts";

/** The parts of the access page. */
export const accessTabs = ["tokens", "signing-keys", "enrolment-keys"] as const;

/** The address of the access page. */
export interface AccessSearch {
  readonly tab?: (typeof accessTabs)[number];
}

/** Reads {@link AccessSearch}. */
export function accessSearch(raw: RawSearch): AccessSearch {
  return compact({ tab: searchChoice(raw, "tab", accessTabs) });
}
