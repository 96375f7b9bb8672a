import { compact, type RawSearch, searchChoice, searchFlag, searchText } from "./search.ts";

/** What the list of firmware can be narrowed to. */
export const firmwareStateChoices = ["draft", "uploaded", "released"] as const;

/** The address of the list of firmware. */
export interface FirmwareListSearch {
  readonly product?: string;
  readonly state?: (typeof firmwareStateChoices)[number];
  readonly deleted?: true;
}

/** Reads {@link FirmwareListSearch}; what it does not know is dropped. */
export function firmwareListSearch(raw: RawSearch): FirmwareListSearch {
  return compact({
    product: searchText(raw, "product"),
    state: searchChoice(raw, "state", firmwareStateChoices),
    deleted: searchFlag(raw, "deleted"),
  });
}

/** The address of a comparison: two firmware ids. */
export interface CompareSearch {
  readonly a?: string;
  readonly b?: string;
}

/** Reads {@link CompareSearch}. */
export function compareSearch(raw: RawSearch): CompareSearch {
  return compact({ a: searchText(raw, "a"), b: searchText(raw, "b") });
}
