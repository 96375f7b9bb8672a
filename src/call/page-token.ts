import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import { OtaError } from "../errors.ts";

/** Where a page of a list ends: the values of the columns that the list is ordered by, for its last row. */
export type Keyset = readonly string[];

/**
 * Makes and reads page tokens (AIP-158). A token holds the keyset of the last row, a digest of the filter that it
 * belongs to, and a MAC over both: it works only for the same list and cannot be made up. It grants no rights, so it
 * is signed and not encrypted.
 */
export class PageTokens {
  readonly #key: Buffer;

  /** All replicas need the same secret, of 16 bytes or more, or a list that crosses replicas breaks off. */
  constructor(secret: Uint8Array) {
    if (secret.length < minSecretBytes)
      throw new Error(`the page token secret needs ${minSecretBytes} bytes or more`);
    // A key of its own, so that the secret may serve other purposes as well.
    this.#key = createHmac("sha256", secret).update("ota page token v1").digest();
  }

  /** The token of the page that follows a row. `filter` is whatever the list depends on beside the page. */
  encode(page: { readonly filter: unknown; readonly keyset: Keyset }): string {
    const body = Buffer.from(JSON.stringify(page.keyset));
    return Buffer.concat([this.#mac(page.filter, body), body]).toString("base64url");
  }

  /** The keyset in a token; undefined for an empty token, the first page. Throws INVALID_PAGE_TOKEN. */
  decode(token: string, filter: unknown): Keyset | undefined {
    if (token === "") return undefined;
    const bytes = Buffer.from(token, "base64url");
    const body = bytes.subarray(macBytes);
    const isOurs =
      bytes.length > macBytes && timingSafeEqual(bytes.subarray(0, macBytes), this.#mac(filter, body));
    if (!isOurs) throw invalidPageToken();
    return JSON.parse(body.toString()) as Keyset;
  }

  #mac(filter: unknown, body: Buffer): Buffer {
    // Equal filters digest equally: keys are sorted, and what is undefined is absent.
    const digest = createHash("sha256")
      .update(stringify(filter) ?? "")
      .digest();
    return createHmac("sha256", this.#key).update(digest).update(body).digest().subarray(0, macBytes);
  }
}

/** How many rows to return: 50 unless asked, 1,000 at most (larger numbers are lowered, AIP-158). */
export function pageSize(asked: number): number {
  if (asked <= 0) return defaultPageSize;
  return Math.min(asked, maxPageSize);
}

const defaultPageSize = 50;

const maxPageSize = 1_000;

/** 128 bits: a token that is guessed grants nothing but an odd page. */
const macBytes = 16;

const minSecretBytes = 16;

function invalidPageToken(): OtaError {
  return new OtaError(
    "invalid_argument",
    "INVALID_PAGE_TOKEN",
    "page_token: is not from this list; begin without one, and keep the other fields as they were",
    {
      fields: [{ field: "page_token", description: "is not from this list" }],
      metadata: { field: "page_token" },
    },
  );
}
