import type { EntityManager } from "@mikro-orm/postgresql";
import type { AuditLog } from "../../access/audit-log.ts";
import { notFound, OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { HeardTime } from "./heard-time.ts";
import type { Rollout } from "./rollout.ts";
import { readRollouts } from "./rollout-rows.ts";

/** A unit of work on rollouts. */
export interface RolloutTransaction extends Session {
  readonly em: EntityManager;
  readonly audit: AuditLog;
  /** The time of everything that it writes. */
  readonly now: Date;
  /** The time since which devices could be heard for so many milliseconds. */
  ago(ms: number): Date;
  /** Marks a rollout as changed: everyone is told after the commit. */
  changed(rolloutId: string): void;
}

/** What {@link RolloutTransactions} is made of. */
export interface RolloutTransactionsParts {
  readonly database: Pick<Database, "transact">;
  readonly audit: AuditLog;
  readonly hearing: Pick<HeardTime, "now" | "ago">;
  /** Told after the commit; resolves when this replica acts on the change. Must not throw or reject. */
  readonly changed: (rolloutId: string) => Promise<void>;
}

/** Runs units of work on rollouts: all or nothing, again if a deadlock picked them, and heard of when they are done. */
export class RolloutTransactions {
  readonly #parts: RolloutTransactionsParts;

  constructor(parts: RolloutTransactionsParts) {
    this.#parts = parts;
  }

  /** Runs `work` in a transaction. When it resolves, this replica's update checks know of the changes. */
  async run<T>(work: (transaction: RolloutTransaction) => Promise<T>): Promise<T> {
    const { database, audit, hearing, changed } = this.#parts;
    const { result, changes } = await database.transact(
      async (em, session) => {
        const changes = new Set<string>();
        const result = await work({
          ...session,
          em,
          audit,
          now: hearing.now(),
          ago: (ms) => hearing.ago(ms),
          changed: (rolloutId) => changes.add(rolloutId),
        });
        return { result, changes };
      },
      { retry: { attempts: maxAttempts } },
    );
    await Promise.all([...changes].map(changed));
    return result;
  }
}

/**
 * Locks a rollout until the transaction ends and reads it: nobody writes how its updates go meanwhile, so its counters
 * equal the rows. `NOT_FOUND` if there is none, `ILLEGAL_TRANSITION` if it is archived.
 */
export async function lockRollout(tx: RolloutTransaction, id: string): Promise<Rollout> {
  return requireUnarchived(await lockAnyRollout(tx, id));
}

/** As {@link lockRollout}, archived or not. */
export async function lockAnyRollout(tx: RolloutTransaction, id: string): Promise<Rollout> {
  await tx.run(lockSql, [id]);
  return readRollout(tx, id);
}

/** The rollout, unless it is archived: `ILLEGAL_TRANSITION`. */
export function requireUnarchived(rollout: Rollout): Rollout {
  const { id, name, archivedAt } = rollout;
  if (archivedAt === undefined) return rollout;
  throw new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `rollout ${name} is archived; take it out of the archive first`,
    { metadata: { resource: "rollout", id, state: "archived", allowed: "unarchive" } },
  );
}

/** Reads one rollout, archived or not. `NOT_FOUND` if there is none. */
export async function readRollout(session: Session, id: string): Promise<Rollout> {
  const [rollout] = await readRollouts(session, { ids: [id], showArchived: true });
  if (rollout === undefined) throw notFound("rollout", id);
  return rollout;
}

const maxAttempts = 5;

const lockSql = sql`SELECT 1 FROM rollouts WHERE id = $1::uuid FOR UPDATE`;
