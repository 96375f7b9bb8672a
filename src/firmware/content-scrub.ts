import { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";
import type { Content, StoredContents } from "./stored-contents.ts";

/** What a {@link ContentScrub} is made of. */
export interface ContentScrubParts {
  readonly pool: Session;
  readonly contents: StoredContents;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often each content is read. */
  readonly periodMs: number;
  readonly bytesPerSecond: number;
}

/**
 * Reads the content of every firmware again and again, so that what rots in the store is known before a device needs it. Who
 * is to read what next stands in the database, so replicas share the work. Damage, whoever found it, is put on the
 * firmware until its content is right again: uploaded anew, or mended in the store.
 */
export class ContentScrub {
  /** Reading, and telling what somebody found: the second does not wait until all that is due is read. */
  readonly rounds: readonly [scrub: Round, reports: Round];
  readonly #parts: ContentScrubParts;
  /** What somebody here found, and the database does not know yet. */
  readonly #found = new Set<string>();
  #damaged = 0;

  constructor(parts: ContentScrubParts) {
    this.#parts = parts;
    const { clock, logger, contents, periodMs } = parts;
    const scrub: Round = new Round({
      name: "content_scrub",
      everyMs: Math.min(periodMs, lookEveryMs),
      atOnce: true,
      clock,
      logger,
      work: async (signal) => {
        if (await this.#scrub(signal)) scrub.soon(0);
      },
    });
    const reports = new Round({
      name: "content_damage",
      afterFailureMs: lookEveryMs,
      clock,
      logger,
      work: (signal) => this.#report(signal),
    });
    this.rounds = [scrub, reports];
    contents.onDamage((sha256) => {
      if (this.#found.size < maxFound) this.#found.add(sha256);
      reports.soon(reportMs);
    });
  }

  /** Contents that are damaged or missing, as of the last look. */
  get damaged(): number {
    return this.#damaged;
  }

  async #report(signal: AbortSignal): Promise<void> {
    for (const sha256 of this.#found) {
      // It may have been uploaded anew since.
      if (await this.#parts.contents.isKnownBad(sha256, signal)) await this.#mark(sha256);
      this.#found.delete(sha256);
    }
    await this.#marked();
  }

  /** Reads one content; whether there was one to read. */
  async #scrub(signal: AbortSignal): Promise<boolean> {
    const { pool, contents, bytesPerSecond } = this.#parts;
    // What this one knows, the database knows, or is about to be told.
    const known = contents.damaged.filter((sha256) => !this.#found.has(sha256));
    const marked = await this.#marked();
    const stillBad = new Set(marked.map(({ sha256 }) => sha256));
    for (const sha256 of known) if (!stillBad.has(sha256)) contents.forgetDamage(sha256);
    // What another replica found, this one has to know; and what was mended by hand, all of them.
    for (const content of marked) {
      if (await contents.isKnownBad(content.sha256, signal)) continue;
      if ((await contents.check(content, { signal, bytesPerSecond })) === "sound")
        await this.#settle(content);
    }
    const [next] = await pool.query<ContentRow>(claimSql, [retryMs]);
    if (next !== undefined) {
      const content = contentOf(next);
      const state = await contents.check(content, { signal, bytesPerSecond });
      if (state !== "sound") await this.#mark(content.sha256);
      else await this.#settle(content);
    }
    await this.#marked();
    return next !== undefined;
  }

  async #marked(): Promise<Content[]> {
    const marked = (await this.#parts.pool.query<ContentRow>(markedSql)).map(contentOf);
    this.#damaged = marked.length;
    return marked;
  }

  async #mark(sha256: string): Promise<void> {
    const { pool, logger, periodMs } = this.#parts;
    const rows = await pool.query<{ id: string; product: string; version: string }>(markSql, [
      sha256,
      periodMs,
    ]);
    for (const firmware of rows)
      logger.error({ sha256, firmware }, "the stored content is damaged or missing; upload it again");
  }

  async #settle({ sha256 }: Content): Promise<void> {
    await this.#parts.pool.run(settleSql, [sha256, this.#parts.periodMs]);
  }
}

interface ContentRow {
  readonly sha256: string;
  /** A bigint. */
  readonly size_bytes: string;
}

function contentOf({ sha256, size_bytes }: ContentRow): Content {
  return { sha256, sizeBytes: Number(size_bytes) };
}

const lookEveryMs = 60_000;

/** How long what is found may wait for more of it before the database is told. */
const reportMs = 1_000;

/** When content is due again whose reader was stopped, or found the store away. */
const retryMs = 600_000;

const maxFound = 1_000;

/** What should be in the store. */
const stored = sql`state <> 'DRAFT' AND NOT is_deleted`;

const claimSql = sql`
  UPDATE firmware_updates SET check_due_at = now() + $1 * interval '1 millisecond'
   WHERE ${stored} AND sha256 = (
     SELECT sha256 FROM firmware_updates WHERE ${stored} AND check_due_at <= now()
      ORDER BY check_due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
  RETURNING sha256, size_bytes::text`;

const markedSql = sql`
  SELECT DISTINCT sha256, size_bytes::text FROM firmware_updates WHERE ${stored} AND damaged_at IS NOT NULL`;

const markSql = sql`
  UPDATE firmware_updates SET damaged_at = now(), check_due_at = now() + $2 * interval '1 millisecond'
   WHERE ${stored} AND sha256 = $1 AND damaged_at IS NULL RETURNING id, product, version`;

const settleSql = sql`
  UPDATE firmware_updates SET damaged_at = NULL, check_due_at = now() + $2 * interval '1 millisecond'
   WHERE ${stored} AND sha256 = $1`;
