import type { Session } from "../../infra/database/session.ts";
import { makeSnapshot, makeTimestamp } from "../../tuf/tuf-making.ts";
import {
  type RootMetadata,
  readOnline,
  signatureCount,
  type TufRole,
  thresholdOf,
} from "../../tuf/tuf-metadata.ts";
import { addMetadata, onlineKeys, type StoredMetadata } from "./tuf-store.ts";

/** How long what the service signs holds, in milliseconds. */
export interface OnlineLifetimes {
  readonly timestampMs: number;
  readonly snapshotMs: number;
}

/** What is signed for whom, and when. */
export interface OnlineSigning {
  readonly product: string;
  /** The newest one. */
  readonly root: RootMetadata;
  /** The newest of each role. */
  readonly newest: ReadonlyMap<TufRole, StoredMetadata>;
  readonly now: Date;
  readonly lifetimes: OnlineLifetimes;
}

/**
 * Signs a new timestamp, and before it a new snapshot if there are newer targets than in the one before, or if that one does not hold
 * any more: by its time, or by the root. Does nothing before there are targets. The caller has locked the repository.
 */
export async function signOnline(
  session: Session,
  { product, root, newest, now, lifetimes }: OnlineSigning,
): Promise<void> {
  const targets = newest.get("targets");
  if (targets === undefined) return;
  const keys = await keysOf(session, product, root);
  let snapshot = newest.get("snapshot");
  if (
    snapshot === undefined ||
    !holds(snapshot, targets, root, new Date(now.getTime() + lifetimes.snapshotMs / 2))
  ) {
    const version = (snapshot?.version ?? 0) + 1;
    const expiresAt = new Date(now.getTime() + lifetimes.snapshotMs);
    const bytes = makeSnapshot({ version, expiresAt, keys: keys("snapshot") }, targets);
    snapshot = { role: "snapshot", version, bytes, expiresAt };
    await addMetadata(session, product, snapshot);
  }
  const version = (newest.get("timestamp")?.version ?? 0) + 1;
  const expiresAt = new Date(now.getTime() + lifetimes.timestampMs);
  const bytes = makeTimestamp({ version, expiresAt, keys: keys("timestamp") }, snapshot);
  await addMetadata(session, product, { role: "timestamp", version, bytes, expiresAt });
}

async function keysOf(
  session: Session,
  product: string,
  root: RootMetadata,
): Promise<(role: TufRole) => string[]> {
  const own = await onlineKeys(session, product);
  return (role) => {
    const named = new Set(root.metadata.signed.roles[role]?.keyIDs);
    return own.filter(({ id }) => named.has(id)).map(({ privateKeyPem }) => privateKeyPem);
  };
}

function holds(stored: StoredMetadata, targets: StoredMetadata, root: RootMetadata, until: Date): boolean {
  if (stored.expiresAt <= until) return false;
  const snapshot = readOnline("snapshot", stored.bytes);
  const { signed } = snapshot.metadata;
  const bound = "meta" in signed ? signed.meta["targets.json"] : undefined;
  return (
    bound?.version === targets.version && signatureCount(root, snapshot) >= thresholdOf(root, "snapshot")
  );
}
