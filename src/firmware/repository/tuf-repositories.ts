import type { EntityManager } from "@mikro-orm/postgresql";
import type { AuditLog } from "../../access/audit-log.ts";
import { textFault } from "../../call/text-fault.ts";
import { notFound, OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Session } from "../../infra/database/session.ts";
import { makeTargets } from "../../tuf/tuf-making.ts";
import {
  assertSigned,
  invalid,
  maxTufTargets,
  type RootMetadata,
  readRoot,
  readTargets,
  type TargetsMetadata,
  type TufMetadata,
  type TufRole,
} from "../../tuf/tuf-metadata.ts";
import { type OnlineLifetimes, signOnline } from "./online-signing.ts";
import { assertReleased, releaseList } from "./release-list.ts";
import {
  addMetadata,
  addOnlineKey,
  deleteOnlineKeys,
  lockRepository,
  makeRepository,
  newestMetadata,
  type OnlineKey,
  onlineKeys,
  productsToRefresh,
  type StoredMetadata,
  storedMetadata,
} from "./tuf-store.ts";

/** What {@link TufRepositories} is made of. */
export interface TufRepositoriesParts {
  readonly database: Pick<Database, "pool" | "transact">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly lifetimes: OnlineLifetimes;
}

/** What is published, and whether a call changed it. */
export interface Published {
  readonly newest: ReadonlyMap<TufRole, StoredMetadata>;
  readonly unchanged: boolean;
}

/** Targets metadata that nobody signed yet, and how it differs from what is published. */
export interface TargetsDraft {
  readonly bytes: Uint8Array;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/**
 * TUF metadata by product. Root and targets are signed elsewhere, and taken only as a client would take them after what is published;
 * snapshot and timestamp the service signs itself, with a key that can say what is newest and nothing else. Each change locks the
 * repository, so that two of them cannot cross.
 */
export class TufRepositories {
  readonly #parts: TufRepositoriesParts;

  constructor(parts: TufRepositoriesParts) {
    this.#parts = parts;
  }

  /** The service's key that no root names yet, or a new one. */
  createOnlineKey(product: string, actor: string): Promise<OnlineKey> {
    return this.#parts.database.transact(async (em, session) => {
      await makeRepository(session, product);
      const root = rootOf(await newestMetadata(session, product));
      const unused = (await onlineKeys(session, product)).find(({ id }) => !namedIn(root).has(id));
      if (unused !== undefined) return unused;
      const key = await addOnlineKey(session, product);
      await this.#record(em, { actor, action: "tuf.create_online_key", product }, { key_id: key.id });
      return key;
    });
  }

  /**
   * Publishes root metadata, with targets metadata if some are given. `NOT_FOUND` before the service has a key for the product,
   * `TUF_VERSION_CONFLICT` if it is not the next version, `TUF_SIGNATURES_MISSING` if the keys of this root or of the one before have not
   * signed, or if the targets that are published then are not signed by the keys that this root names; else `TUF_METADATA_INVALID`.
   */
  publishRoot(request: {
    readonly product: string;
    readonly actor: string;
    readonly root: Uint8Array;
    readonly targets: Uint8Array | undefined;
  }): Promise<Published> {
    const { product, actor } = request;
    const root = readRoot(request.root);
    const targets = request.targets === undefined ? undefined : readTargets(request.targets);
    return this.#publish(product, async (em, session, newest) => {
      const before = rootOf(newest);
      let changed = false;
      if (!isStored(newest, root)) {
        assertNext(root, newest);
        this.#assertNotExpired(root);
        if (before !== undefined) assertSigned(before, root);
        assertSigned(root, root);
        const own = await onlineKeys(session, product);
        assertOnlineKeys(root, own);
        await addMetadata(session, product, root);
        await deleteOnlineKeys(session, dropped(own, before, root));
        await this.#record(
          em,
          { actor, action: "tuf.publish_root", product },
          { version: String(root.version) },
        );
        changed = true;
      }
      if (targets !== undefined)
        return (await this.#addTargets(em, session, { ...request, newest, root, targets })) || changed;
      const published = newest.get("targets");
      if (changed && published !== undefined) assertSigned(root, readTargets(published.bytes));
      return changed;
    });
  }

  /** Publishes targets metadata. Errors as {@link publishRoot}. */
  publishTargets(request: {
    readonly product: string;
    readonly actor: string;
    readonly targets: Uint8Array;
  }): Promise<Published> {
    const targets = readTargets(request.targets);
    return this.#publish(request.product, async (em, session, newest) => {
      const root = rootOf(newest);
      if (root === undefined) throw invalid("targets", "needs root metadata, which is to be published first");
      return this.#addTargets(em, session, { ...request, newest, root, targets });
    });
  }

  /** Makes the next targets metadata. `TUF_METADATA_INVALID` if there is more firmware than clients take. */
  async draftTargets(product: string, expiresAt: Date | undefined): Promise<TargetsDraft> {
    const { clock, database } = this.#parts;
    const releases = await releaseList(database.pool, product);
    if (releases.length > maxTufTargets)
      throw invalid("targets", `must not name more than ${maxTufTargets} versions: delete old firmware`);
    const stored = (await newestMetadata(database.pool, product)).get("targets");
    const named = new Set(
      stored === undefined ? [] : Object.keys(readTargets(stored.bytes).metadata.signed.targets),
    );
    const released = new Set(releases.map(({ path }) => path));
    const end = expiresAt ?? new Date(clock.now().getTime() + draftLifetimeMs);
    return {
      bytes: makeTargets((stored?.version ?? 0) + 1, end, releases),
      added: [...released.difference(named)],
      removed: [...named.difference(released)],
    };
  }

  /** The newest metadata of each role. `NOT_FOUND` if the product has no repository. */
  async get(product: string): Promise<ReadonlyMap<TufRole, StoredMetadata>> {
    const { pool } = this.#parts.database;
    const newest = await newestMetadata(pool, product);
    if (newest.size === 0 && (await onlineKeys(pool, product)).length === 0)
      throw notFound("TUF repository", product);
    return newest;
  }

  /** A file by the name that clients know it by, such as `timestamp.json` or `3.root.json`. `NOT_FOUND` if there is none. */
  async read(product: string, file: string): Promise<Uint8Array> {
    const match = /^(?:([1-9]\d{0,8})\.)?(root|targets|snapshot|timestamp)\.json$/.exec(file);
    const role = match?.[2] as TufRole | undefined;
    const version = match?.[1] === undefined ? undefined : Number(match[1]);
    // A timestamp has no version in its name, and everything else has one. A product that no database could hold has nothing.
    const isName = role !== undefined && (role === "timestamp") === (version === undefined);
    if (isName && textFault(product) === undefined) {
      const bytes = await storedMetadata(this.#parts.database.pool, { product, role, version });
      if (bytes !== undefined) return bytes;
    }
    throw notFound("TUF metadata", `${product}/${file}`);
  }

  /** Signs anew whatever has less than half of its time left. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { clock, database, lifetimes } = this.#parts;
    const endsBefore = new Date(clock.now().getTime() + lifetimes.timestampMs / 2);
    for (const product of await productsToRefresh(database.pool, endsBefore)) {
      signal.throwIfAborted();
      await database.transact(async (_em, session) => {
        await lockRepository(session, product);
        const newest = await newestMetadata(session, product);
        const timestamp = newest.get("timestamp");
        // Another replica was faster.
        if (timestamp !== undefined && timestamp.expiresAt > endsBefore) return;
        await this.#signOnline(session, product, newest);
      });
    }
  }

  #publish(
    product: string,
    change: (
      em: EntityManager,
      session: Session,
      newest: ReadonlyMap<TufRole, StoredMetadata>,
    ) => Promise<boolean>,
  ): Promise<Published> {
    return this.#parts.database.transact(async (em, session) => {
      await lockRepository(session, product);
      const before = await newestMetadata(session, product);
      if (!(await change(em, session, before))) return { newest: before, unchanged: true };
      await this.#signOnline(session, product, await newestMetadata(session, product));
      return { newest: await newestMetadata(session, product), unchanged: false };
    });
  }

  async #addTargets(
    em: EntityManager,
    session: Session,
    { product, actor, newest, root, targets }: NewTargets,
  ): Promise<boolean> {
    if (isStored(newest, targets)) {
      assertSigned(root, targets);
      return false;
    }
    assertNext(targets, newest);
    this.#assertNotExpired(targets);
    assertSigned(root, targets);
    assertReleased(targets.metadata.signed, await releaseList(session, product));
    await addMetadata(session, product, targets);
    const versions = Object.keys(targets.metadata.signed.targets).length;
    const details = { version: String(targets.version), firmware_count: String(versions) };
    await this.#record(em, { actor, action: "tuf.publish_targets", product }, details);
    return true;
  }

  async #signOnline(
    session: Session,
    product: string,
    newest: ReadonlyMap<TufRole, StoredMetadata>,
  ): Promise<void> {
    const { clock, lifetimes } = this.#parts;
    const root = rootOf(newest);
    if (root !== undefined) await signOnline(session, { product, root, newest, now: clock.now(), lifetimes });
  }

  #assertNotExpired({ role, expiresAt }: TufMetadata): void {
    if (expiresAt > this.#parts.clock.now()) return;
    throw invalid(role, `expired at ${expiresAt.toISOString()}`);
  }

  #record(
    em: EntityManager,
    { actor, action, product }: { actor: string; action: string; product: string },
    details: Readonly<Record<string, string>>,
  ): Promise<void> {
    return this.#parts.audit.record(em, {
      actor,
      action,
      resourceType: "tuf_repository",
      resourceId: product,
      details,
    });
  }
}

interface NewTargets {
  readonly product: string;
  readonly actor: string;
  readonly newest: ReadonlyMap<TufRole, StoredMetadata>;
  readonly root: RootMetadata;
  readonly targets: TargetsMetadata;
}

/** How long targets metadata holds if nobody says otherwise. */
const draftLifetimeMs = 90 * 86_400_000;

function rootOf(newest: ReadonlyMap<TufRole, StoredMetadata>): RootMetadata | undefined {
  const stored = newest.get("root");
  return stored === undefined ? undefined : readRoot(stored.bytes);
}

/** Every key that the root names, whatever for. */
function namedIn(root: RootMetadata | undefined): Set<string> {
  return new Set(Object.keys(root?.metadata.signed.keys ?? {}));
}

function isStored(newest: ReadonlyMap<TufRole, StoredMetadata>, { role, bytes }: TufMetadata): boolean {
  const stored = newest.get(role);
  return stored !== undefined && Buffer.compare(stored.bytes, bytes) === 0;
}

function assertNext({ role, version }: TufMetadata, newest: ReadonlyMap<TufRole, StoredMetadata>): void {
  const expected = (newest.get(role)?.version ?? 0) + 1;
  if (version === expected) return;
  throw new OtaError(
    "failed_precondition",
    "TUF_VERSION_CONFLICT",
    `the next ${role} metadata has the version ${expected}, this has ${version}`,
    { metadata: { role, expected: String(expected), version: String(version) } },
  );
}

/** Without one of its keys the service could not say what is newest; with a part in more it would have power over what is installed. */
function assertOnlineKeys(root: RootMetadata, own: readonly OnlineKey[]): void {
  const ids = new Set(own.map(({ id }) => id));
  const { roles } = root.metadata.signed;
  for (const role of ["snapshot", "timestamp"]) {
    const count = roles[role]?.keyIDs.filter((id) => ids.has(id)).length ?? 0;
    if (count < (roles[role]?.threshold ?? 1))
      throw invalid("root", `must name the service's own key for ${role} (CreateTufOnlineKey)`);
  }
  for (const role of ["root", "targets"]) {
    if (roles[role]?.keyIDs.some((id) => ids.has(id)) === true)
      throw invalid("root", `must not let the service's own key sign ${role}`);
  }
}

/** The service's keys that the root before named and this one does not. */
function dropped(own: readonly OnlineKey[], before: RootMetadata | undefined, root: RootMetadata): string[] {
  const gone = namedIn(before).difference(namedIn(root));
  return own.filter(({ id }) => gone.has(id)).map(({ id }) => id);
}
