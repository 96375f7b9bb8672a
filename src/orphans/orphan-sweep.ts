import { lockContent } from "../infra/database/content-lock.ts";
import type { ReadSession, Session } from "../infra/database/session.ts";
import type { ListedObject, ObjectStore } from "../infra/objects/object-store.ts";
import { namedContents } from "./content-references.ts";

/** What a sweep works on. */
export interface SweepParts {
  readonly store: Pick<ObjectStore, "list" | "delete">;
  readonly database: {
    readonly session: ReadSession;
    transact<T>(work: (session: Session) => Promise<T>): Promise<T>;
  };
  readonly now: () => Date;
  /** How old a content must be that nothing names, and for how long a deleted firmware keeps its own, in milliseconds. */
  readonly graceMs: number;
}

/** A content that no row names. */
export interface Orphan {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly modifiedAt: Date;
}

/** What is in the store. */
export interface OrphanCount {
  /** Contents of this service. */
  readonly contents: number;
  /** What was there under names that are none of ours: it is never touched. */
  readonly strangers: number;
  /** Old enough to go, up to {@link maxOrphans} of them. */
  readonly orphans: readonly Orphan[];
}

/**
 * Lists the store page by page, and finds the contents that no row of the database names and that are older than the grace period: what
 * was deleted, or was stored by a service that died before it could say so. Changes nothing.
 */
export async function findOrphans(parts: SweepParts, signal: AbortSignal): Promise<OrphanCount> {
  const before = new Date(parts.now().getTime() - parts.graceMs);
  const orphans: Orphan[] = [];
  let contents = 0;
  let strangers = 0;
  for await (const page of parts.store.list(signal)) {
    signal.throwIfAborted();
    const ours = page.filter(isContent);
    contents += ours.length;
    strangers += page.length - ours.length;
    const old = ours.filter(({ modifiedAt }) => modifiedAt < before).slice(0, maxOrphans - orphans.length);
    if (old.length === 0) continue;
    const digests = old.map(({ sha256 }) => sha256);
    const named = await namedContents(parts.database.session, digests, before);
    orphans.push(...old.filter(({ sha256 }) => !named.has(sha256)));
  }
  return { contents, strangers, orphans };
}

/** Removes contents that still no row names, each under its lock; returns how many were. */
export async function removeOrphans(
  { store, database, now, graceMs }: SweepParts,
  orphans: readonly Orphan[],
  signal: AbortSignal,
): Promise<number> {
  const before = new Date(now().getTime() - graceMs);
  let removed = 0;
  for (const { sha256 } of orphans) {
    signal.throwIfAborted();
    removed += await database.transact(async (session) => {
      await lockContent(session, sha256);
      if ((await namedContents(session, [sha256], before)).size > 0) return 0;
      // The lock goes with the transaction, and that with a silence of 15 s.
      await store.delete(sha256, AbortSignal.any([signal, AbortSignal.timeout(deleteTimeoutMs)]));
      return 1;
    });
  }
  return removed;
}

/**
 * Whether so much of the store is named by nothing that this is rather the wrong database, an old one that was restored, or a bucket that
 * another service uses too.
 */
export function isSuspicious({ contents, orphans }: OrphanCount): boolean {
  return orphans.length > fewOrphans && orphans.length * 2 > contents;
}

/** Orphans of one sweep; the rest waits for the next one. */
const maxOrphans = 10_000;

/** So many may be most of a small store. */
const fewOrphans = 10;

const deleteTimeoutMs = 8_000;

function isContent(object: ListedObject): object is ListedObject & { readonly sha256: string } {
  return object.sha256 !== undefined;
}
