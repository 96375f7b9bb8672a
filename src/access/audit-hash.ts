import { createHash } from "node:crypto";

/** An event as it is hashed: every column, and the time in microseconds, which a `Date` has not. */
export interface HashedEvent {
  readonly id: string;
  /** For example `2026-01-31T12:00:00.123456Z`. */
  readonly occurred_at: string;
  readonly actor: string;
  readonly action: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly reason: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly address: string | null;
  readonly request_id: string | null;
}

/** A place in the chain: what the log hashes to up to a sequence number. Known outside, nothing before it can be changed unseen. */
export interface ChainPlace {
  /** Of the link; 0 before the first one. */
  readonly sequence: number;
  /** In lower-case hexadecimal. */
  readonly hash: string;
}

/** Before the first link. */
export const chainStart: ChainPlace = { sequence: 0, hash: "0".repeat(64) };

/**
 * The hash of the link of an event that comes after `before`: SHA-256 of a JSON array in UTF-8 without blanks, of the link's
 * sequence number, the hash before, and the event's fields in the order of {@link HashedEvent}; details are pairs of name and
 * value, by the names' UTF-16 code units.
 */
export function linkHash(before: ChainPlace, event: HashedEvent): string {
  const details = Object.entries(event.details).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const fields = [
    before.sequence + 1,
    before.hash,
    event.id,
    event.occurred_at,
    event.actor,
    event.action,
    event.resource_type,
    event.resource_id,
    event.reason,
    details,
    event.address,
    event.request_id,
  ];
  return createHash("sha256").update(JSON.stringify(fields)).digest("hex");
}
