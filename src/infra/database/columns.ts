import type { PrimaryKeyProp } from "@mikro-orm/core";
import { p } from "@mikro-orm/core";

/** A point in time in UTC, in microseconds as PostgreSQL keeps it. */
export function instant() {
  return p.datetime(instantPrecision);
}

/** When a row was made. The database fills it in, so that hand-written INSERTs need not name it. */
export function createdAt() {
  return instant().defaultRaw("now()");
}

/** When a row last changed: filled in by the ORM when it flushes. Native updates and hand-written SQL set it themselves. */
export function updatedAt() {
  return instant()
    .defaultRaw("now()")
    .onUpdate(() => new Date());
}

/** A count or size that fits JavaScript's safe integers (2^53), stored as bigint. */
export function count() {
  return p.bigint("number");
}

/**
 * The name of an entity as the target of a foreign key, for a feature that must not import the one that owns it. The
 * target's key is the uuid `id`.
 */
export function entityNamed(name: string): EntityWithId {
  return name as unknown as EntityWithId;
}

/** What {@link entityNamed} promises of its target. */
interface EntityWithId {
  readonly "~entity": { id: string; [PrimaryKeyProp]?: "id" };
}

/**
 * Hides rows with `is_deleted` from find, count and native updates unless a query says
 * `filters: { notDeleted: false }`. It does not reach hand-written SQL or query builders.
 */
export const notDeleted = {
  notDeleted: { name: "notDeleted", cond: { isDeleted: false }, default: true },
} as const;

const instantPrecision = 6;
