/** Where in a list that is sorted newest first to read on, and how much. */
export interface ListPosition {
  /** The most rows to return, at least 1. */
  readonly limit: number;
  /** The key of the last row of the page before; undefined for the first page. */
  readonly after?: string | undefined;
}
