import type { EntityManager } from "@mikro-orm/postgresql";
import { invalidArgument } from "../../errors.ts";
import { areDifferent } from "./request-digest.ts";
import { type Session, sessionOf } from "./session.ts";
import { sql } from "./sql.ts";

/** A create that a caller may send again (AIP-155). */
export interface RequestKey {
  /** Who calls, as the audit log names callers: another caller's ids are another world. */
  readonly caller: string;
  /** The full name of the RPC. */
  readonly method: string;
  /** The caller's UUID for this request; undefined if it gave none, and then nothing is remembered. */
  readonly requestId: string | undefined;
  /** See `requestDigest`. */
  readonly requestDigest: Uint8Array;
}

/** What {@link IdempotencyKeys.once} found or made. */
export interface RequestOutcome {
  readonly resourceId: string;
  /** True if an earlier request made it. */
  readonly repeated: boolean;
}

/** Remembers creates for 24 hours, so that one that is sent twice, even at the same time, is done once. */
export class IdempotencyKeys {
  /**
   * Runs `create`, which returns the id of what it made, unless the same request was done before. Must be called in
   * the transaction that creates: the memory and the resource are committed together or not at all. A second request
   * at the same time waits for the first one's transaction.
   *
   * Throws REQUEST_ID_REUSED if the id came with another request before.
   */
  async once(em: EntityManager, key: RequestKey, create: () => Promise<string>): Promise<RequestOutcome> {
    if (key.requestId === undefined) return { resourceId: await create(), repeated: false };
    if (!em.isInTransaction()) throw new Error("the idempotency keys needs the caller's transaction");
    const primaryKey = [key.caller, key.method, key.requestId];
    const digest = Buffer.from(key.requestDigest);
    const session = sessionOf(em);
    const claimed = await session.query(claimSql, [...primaryKey, digest]);
    if (claimed.length === 0) {
      const found = await earlier(session, key, primaryKey);
      // Taken when we claimed it, purged when we read it: it is free now.
      return found ?? this.once(em, key, create);
    }
    const resourceId = await create();
    await session.run(settleSql, [...primaryKey, resourceId]);
    return { resourceId, repeated: false };
  }

  /** Forgets requests older than 24 hours, some thousand at a time; returns how many. */
  async purge(session: Session): Promise<number> {
    for (let purged = 0; ; ) {
      const forgotten = await session.run(purgeSql);
      purged += forgotten;
      if (forgotten < purgeBatchRows) return purged;
    }
  }
}

async function earlier(
  session: Session,
  key: RequestKey,
  primaryKey: readonly string[],
): Promise<RequestOutcome | undefined> {
  const [row] = await session.query<{ request_digest: Uint8Array; resource_id: string }>(findSql, primaryKey);
  if (row === undefined) return undefined;
  if (areDifferent(row.request_digest, key.requestDigest)) {
    throw invalidArgument("request_id", "came with another request before", "REQUEST_ID_REUSED");
  }
  return { resourceId: row.resource_id, repeated: true };
}

/** How long a request is remembered. */
const memory = sql`interval '24 hours'`;

const purgeBatchRows = 5_000;

/** Takes the id, or takes it over from a request that is past its time; no row if it is taken. */
const claimSql = sql`
  INSERT INTO request_ids (caller, method, request_id, request_digest, resource_id)
  VALUES ($1, $2, $3, $4, '')
  ON CONFLICT (caller, method, request_id) DO UPDATE
    SET request_digest = excluded.request_digest, resource_id = '', created_at = now()
    WHERE request_ids.created_at < now() - ${memory}
  RETURNING 1 AS claimed`;

const settleSql = sql`
  UPDATE request_ids SET resource_id = $4 WHERE caller = $1 AND method = $2 AND request_id = $3`;

const findSql = sql`
  SELECT request_digest, resource_id FROM request_ids WHERE caller = $1 AND method = $2 AND request_id = $3`;

const purgeSql = sql`
  DELETE FROM request_ids
  WHERE ctid IN (
    SELECT ctid FROM request_ids WHERE created_at < now() - ${memory} LIMIT ${purgeBatchRows}
  )`;
