import type { Clock } from "../infra/clock.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { fiveMinutes } from "./rollup-sql.ts";

/** What {@link LateBuckets} is made of. */
export interface LateBucketsParts {
  readonly pool: Session;
  readonly clock: Clock;
  /** How long after its end a bucket is rolled up, in milliseconds. */
  readonly settleMs: number;
  /** How long after the newest note a bucket is made anew, in milliseconds; a minute unless given. */
  readonly redoAfterMs?: number;
}

/** A bucket to make anew. */
export interface LateBucket {
  readonly bucket: Date;
  /** Names the state of the note, to the microsecond. */
  readonly noted: string;
}

/**
 * The buckets that got heartbeats after they were rolled up. They are noted before those heartbeats are stored, in a
 * transaction of their own, and made anew when there was no new note for a minute: longer than a transaction that stores
 * may take. So a replica that dies between the note and the commit costs a roll-up too many, and one that dies after the
 * commit none too few.
 */
export class LateBuckets {
  readonly #parts: LateBucketsParts;
  readonly #redoAfterMs: number;
  /** When this replica noted a bucket last, by the monotonic clock. */
  readonly #notedMs = new Map<number, number>();
  /** What turned out to be late when it was stored. */
  readonly #unnoted = new Set<number>();
  #rolledUpUntilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: LateBucketsParts) {
    this.#parts = parts;
    this.#redoAfterMs = parts.redoAfterMs ?? defaultRedoAfterMs;
  }

  /** Is told that everything before a time is rolled up: a clock that was set back makes what comes then late. */
  rolledUpUntil(time: Date): void {
    this.#rolledUpUntilMs = time.getTime();
  }

  /** Notes what is late of what is about to be stored, before it is; undefined if nothing is. */
  prepare(records: readonly Received[]): Promise<void> | undefined {
    const late = this.#lateOf(records);
    return late.size === 0 ? undefined : this.#note([...late]);
  }

  /** Looks again at what was stored: a commit may have waited. See {@link noteStored}. */
  observe(records: readonly Received[]): void {
    for (const bucket of this.#lateOf(records)) {
      // Past the limit a bucket stays as it is: that is weeks of outage, after which there are worse gaps.
      if (this.#unnoted.size < maxBuckets) this.#unnoted.add(bucket);
    }
  }

  /** Notes what {@link observe} found. */
  async noteStored(): Promise<void> {
    const buckets = [...this.#unnoted];
    if (buckets.length === 0) return;
    await this.#note(buckets);
    for (const bucket of buckets) this.#unnoted.delete(bucket);
  }

  /** The oldest bucket that is to be made anew now, if there is one. */
  async next(): Promise<LateBucket | undefined> {
    const [next] = await this.#parts.pool.query<LateBucket>(nextSql, [this.#redoAfterMs]);
    return next;
  }

  /** Takes a bucket off, unless it was noted again meanwhile. To be called last: the note is locked until the commit. */
  async done(session: Session, { bucket, noted }: LateBucket): Promise<void> {
    await session.run(doneSql, [bucket.toISOString(), noted]);
  }

  /** The buckets of what is late and not noted lately. */
  #lateOf(records: readonly Received[]): Set<number> {
    const { clock, settleMs } = this.#parts;
    const { widthMs } = fiveMinutes;
    // Half the time: the rest is for the transaction that begins now.
    const settled = clock.now().getTime() - settleMs / 2;
    const lateBefore = Math.max(Math.floor(settled / widthMs) * widthMs, this.#rolledUpUntilMs);
    const late = new Set<number>();
    for (const { receivedAt } of records) {
      const at = receivedAt.getTime();
      if (at < lateBefore) late.add(Math.floor(at / widthMs) * widthMs);
    }
    const freshMs = clock.monotonicMs() - this.#redoAfterMs / 2;
    for (const bucket of late) if ((this.#notedMs.get(bucket) ?? freshMs) > freshMs) late.delete(bucket);
    return late;
  }

  async #note(buckets: readonly number[]): Promise<void> {
    const times = buckets.toSorted((a, b) => a - b).map((ms) => new Date(ms).toISOString());
    await this.#parts.pool.run(noteSql, [times]);
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#notedMs.size + buckets.length > maxBuckets) this.#notedMs.clear();
    for (const bucket of buckets) this.#notedMs.set(bucket, nowMs);
  }
}

/** A heartbeat, as far as it matters here. */
interface Received {
  readonly receivedAt: Date;
}

/** Several times what the database allows a transaction that stores heartbeats. */
const defaultRedoAfterMs = 60_000;

/** Five weeks of five minutes. */
const maxBuckets = 10_000;

const nextSql = sql`
  SELECT l.bucket, l.created_at::text AS noted
  FROM late_buckets l JOIN rollup_progress p ON p.resolution = '5m' AND l.bucket < p.next_bucket
  WHERE l.created_at <= now() - $1 * interval '1 millisecond' ORDER BY l.bucket LIMIT 1`;

const doneSql = sql`DELETE FROM late_buckets WHERE bucket = $1 AND created_at = $2::timestamptz`;

const noteSql = sql`
  INSERT INTO late_buckets (bucket) SELECT unnest($1::timestamptz[])
  ON CONFLICT (bucket) DO UPDATE SET created_at = excluded.created_at`;
