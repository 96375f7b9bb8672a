import { type Keyset, type PageTokens, pageSize } from "./page-token.ts";

/** What every request for a page has. */
export interface PageRequest {
  /** Rows to return; 0 for the default. */
  readonly pageSize: number;
  /** The token of the page before; empty for the first page. */
  readonly pageToken: string;
}

/** Where in a list to read on, and how much. */
export interface ListPosition<Key = string> {
  /** The most rows to return, at least 1. */
  readonly limit: number;
  /** The key of the last row of the page before; undefined for the first page. */
  readonly after?: Key | undefined;
}

/** A page of rows and the token of the next one, empty on the last. */
export interface ListPage<Row> {
  readonly rows: readonly Row[];
  readonly nextPageToken: string;
}

/** A list that can be read from a row on. */
interface ListSource<Row, Key> {
  readonly list: (position: ListPosition<Key>) => Promise<readonly Row[]>;
  /** Where a row stands in the list's order. */
  readonly keyOf: (row: Row) => Key;
}

/**
 * Reads one page of a list whose rows are ordered by one key (AIP-158). `filter` is whatever the list depends on beside
 * the page: a token counts only for the same. `INVALID_PAGE_TOKEN` for any other token.
 */
export function listPage<Row>(
  tokens: PageTokens,
  request: PageRequest,
  filter: unknown,
  { list, keyOf }: ListSource<Row, string>,
): Promise<ListPage<Row>> {
  return keysetPage(tokens, request, filter, {
    list: ({ limit, after }) => list({ limit, after: after?.[0] }),
    keyOf: (row) => [keyOf(row)],
  });
}

/** {@link listPage} for a list that is ordered by several columns. */
export async function keysetPage<Row>(
  tokens: PageTokens,
  request: PageRequest,
  filter: unknown,
  { list, keyOf }: ListSource<Row, Keyset>,
): Promise<ListPage<Row>> {
  const after = tokens.decode(request.pageToken, filter);
  const size = pageSize(request.pageSize);
  // One more than asked for tells whether there is a next page.
  const found = await list({ limit: size + 1, after });
  const rows = found.slice(0, size);
  const last = found.length > size ? rows.at(-1) : undefined;
  return { rows, nextPageToken: last === undefined ? "" : tokens.encode({ filter, keyset: keyOf(last) }) };
}
