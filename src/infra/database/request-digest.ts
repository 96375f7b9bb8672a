import { createHash } from "node:crypto";

/**
 * SHA-256 of a request without its id, by which the request ledger tells a repeat from another request (AIP-155).
 * The order of an object's keys makes no difference.
 */
export function requestDigest(body: Readonly<Record<string, unknown>>): Uint8Array {
  return createHash("sha256")
    .update(JSON.stringify(sorted(body)))
    .digest();
}

function sorted(value: unknown): unknown {
  if (value instanceof Date || Array.isArray(value)) return value;
  if (typeof value !== "object" || value === null) return value ?? null;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => [key, sorted(inner)]);
}
