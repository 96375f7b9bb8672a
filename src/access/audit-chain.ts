import type { Logger } from "pino";
import { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { type ChainPlace, chainStart, type HashedEvent, linkHash } from "./audit-hash.ts";
import { hashedColumns } from "./audit-sql.ts";

/** What the {@link AuditChain} is made of. */
export interface AuditChainParts {
  readonly database: Pick<Database, "pool">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often the log is told what the chain has come to, if it has grown. */
  readonly anchorEveryMs: number;
}

/**
 * Chains the audit log: each event gets a link that hashes it and the link before. One replica at a time does it for all, a
 * moment after the events are committed, in the order in which it finds them. A link made with the event itself would have to
 * hold a lock from then until the commit, and all changes of all replicas would wait for each other.
 */
export class AuditChain {
  readonly round: Round;
  readonly #parts: AuditChainParts;
  #anchored = chainStart.sequence;
  #anchorAtMs = 0;

  constructor(parts: AuditChainParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    this.round = new Round({
      name: "audit_chain",
      everyMs: linkEveryMs,
      work: (signal) => this.#run(signal),
      clock,
      logger,
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (await this.#linkSome()));
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs < this.#anchorAtMs) return;
    this.#anchorAtMs = nowMs + this.#parts.anchorEveryMs;
    const place = await lastPlace(this.#parts.database.pool);
    if (place.sequence === this.#anchored) return;
    this.#anchored = place.sequence;
    this.#parts.logger.info(
      { event: "audit.anchor", ...place },
      "the audit log up to this event has this hash",
    );
  }

  /** Whether there may be more. */
  async #linkSome(): Promise<boolean> {
    const { pool } = this.#parts.database;
    // Without a transaction: mostly there is nothing to do.
    if ((await pool.query(anySql)).length === 0) return false;
    let linked = 0;
    await pool.inTurn("audit chain", async (session) => {
      linked = await linkNext(session);
    });
    return linked === batchSize;
  }
}

async function linkNext(session: Session): Promise<number> {
  const events = await session.query<HashedEvent>(nextSql);
  let place = await lastPlace(session);
  const links = events.map((event) => {
    place = { sequence: place.sequence + 1, hash: linkHash(place, event) };
    return place;
  });
  const ids = events.map(({ id }) => id);
  await session.run(linkSql, [
    links.map(({ sequence }) => sequence),
    ids,
    links.map(({ hash }) => Buffer.from(hash, "hex")),
  ]);
  await session.run(linkedSql, [ids]);
  return events.length;
}

async function lastPlace(session: Pick<Session, "query">): Promise<ChainPlace> {
  const [row] = await session.query<{ sequence: string; hash: string }>(lastSql);
  return row === undefined ? chainStart : { sequence: Number(row.sequence), hash: row.hash };
}

/** How long an event is without a link at most, as long as the database answers. */
const linkEveryMs = 2_000;

const batchSize = 500;

const anySql = sql`SELECT 1 FROM unlinked_audit_events LIMIT 1`;

const nextSql = sql`
  SELECT ${hashedColumns} FROM unlinked_audit_events u JOIN audit_events e ON e.id = u.event_id
   ORDER BY u.event_id LIMIT ${batchSize}`;

const lastSql = sql`
  SELECT sequence, encode(hash, 'hex') AS hash FROM audit_links ORDER BY sequence DESC LIMIT 1`;

const linkSql = sql`
  INSERT INTO audit_links (sequence, event_id, hash)
  SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[])`;

const linkedSql = sql`DELETE FROM unlinked_audit_events WHERE event_id = ANY($1::uuid[])`;
