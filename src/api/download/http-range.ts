/** Which bytes a request asked for (RFC 9110, section 14). */
export type ByteRange =
  | { readonly kind: "whole" }
  | { readonly kind: "part"; readonly offset: number; readonly length: number }
  | { readonly kind: "unsatisfiable" };

/**
 * Reads a `Range` header against a content of `size` bytes. Only a single range is served; several, and whatever is not
 * a byte range, are ignored as RFC 9110, section 14.2 allows, and the whole content is the answer.
 */
export function byteRange(header: string | undefined, size: number): ByteRange {
  const match = /^bytes=\s*(?<first>\d*)\s*-\s*(?<last>\d*)\s*$/i.exec(header ?? "");
  const first = match?.groups?.["first"] ?? "";
  const last = match?.groups?.["last"] ?? "";
  if (first === "" && last === "") return { kind: "whole" };
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== "" && Number(last) < offset) return { kind: "whole" };
  if (offset >= size) return { kind: "unsatisfiable" };
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  return { kind: "part", offset, length: end - offset };
}

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
