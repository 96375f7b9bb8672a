import { parse } from "range-parser";

/** Which bytes a request asked for (RFC 9110, section 14). */
export type ByteRange =
  | { readonly kind: "whole" }
  | { readonly kind: "part"; readonly offset: number; readonly length: number }
  | { readonly kind: "unsatisfiable" };

/**
 * Reads a `Range` header against a content of `size` bytes, in time that grows with the header's length. Only a single
 * range is served; several, and whatever is not a byte range, are ignored as RFC 9110, section 14.2 allows, and the whole
 * content is the answer.
 */
export function byteRange(header: string | undefined, size: number): ByteRange {
  if (header === undefined) return { kind: "whole" };
  const { type, code, ranges } = parse(size, header);
  const [range, another] = ranges;
  if (type !== "bytes" || (code & malformed) !== 0 || another !== undefined) return { kind: "whole" };
  if (range !== undefined) {
    return { kind: "part", offset: range.start, length: range.end - range.start + 1 };
  }
  return { kind: (code & pastTheEnd) === 0 ? "whole" : "unsatisfiable" };
}

/** Bits of the parser's code. */
const malformed = 1;
const pastTheEnd = 2;

/**
 * Whether a `Range` may be honoured: yes without `If-Range`, and with one only if it names this very content (RFC 9110,
 * section 13.1.5; weak tags and dates never do).
 */
export function rangeApplies(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange === etag;
}

/** Whether an `If-None-Match` header says that the caller has this content (RFC 9110, section 13.1.2). */
export function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}
