/** Makes and reads the opaque page tokens of the contract. */
export interface PageTokenCodec {
  encode(position: { readonly filter: unknown; readonly keyset: readonly string[] }): string;
  /** Undefined for an empty token. Throws `INVALID_PAGE_TOKEN` for one that is not ours or belongs to another filter. */
  decode(token: string, filter: unknown): readonly string[] | undefined;
}

/** Where in a list that is sorted newest first to read on, and how much. */
export interface ListPosition {
  /** The most rows to return, at least 1. */
  readonly limit: number;
  /** The key of the last row of the page before; undefined for the first page. */
  readonly after?: string | undefined;
}

/** A page of rows and the token of the next one, empty on the last. */
export interface ListPage<Row> {
  readonly rows: readonly Row[];
  readonly nextPageToken: string;
}

/** Reads one page of a list that is sorted newest first (AIP-158). It asks for one row more to know whether it is the last. */
export async function listPage<Row>(options: {
  readonly tokens: PageTokenCodec;
  /** Rows to return at most. */
  readonly size: number;
  /** The caller's token; empty for the first page. */
  readonly token: string;
  /** What the list is restricted to: a token counts only for the same. */
  readonly filter: unknown;
  readonly list: (position: ListPosition) => Promise<readonly Row[]>;
  readonly keyOf: (row: Row) => string;
}): Promise<ListPage<Row>> {
  const { tokens, size, token, filter, list, keyOf } = options;
  const after = tokens.decode(token, filter)?.[0];
  const found = await list({ limit: size + 1, after });
  const rows = found.slice(0, size);
  const last = rows.at(-1);
  const more = found.length > size && last !== undefined;
  return { rows, nextPageToken: more ? tokens.encode({ filter, keyset: [keyOf(last)] }) : "" };
}
