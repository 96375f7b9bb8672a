import type { DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { Background } from "../infra/background/background.ts";
import type { Round } from "../infra/background/round.ts";
import type { Clock } from "../infra/clock.ts";
import type { Pool } from "../infra/database/pool.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { TimePartitions } from "../infra/database/time-partitions.ts";
import type { Logger } from "../infra/logger.ts";
import { LateBuckets } from "./late-buckets.ts";
import { fiveMinutes, oneHour, type RollupResolution } from "./rollup-sql.ts";

/** What a {@link RollupJob} is made of. */
export interface RollupJobParts {
  readonly pool: Pool;
  /** Of the heartbeats. */
  readonly raw: Pick<TimePartitions, "firstKept" | "days" | "summarize">;
  /** Of the roll-ups. */
  readonly partitions: Readonly<Record<RollupResolution["name"], Pick<TimePartitions, "ensure">>>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The rows that one transaction rolls up at most, about; 2,500,000 unless given. */
  readonly rowsPerShard?: number;
  /** See {@link LateBuckets}. */
  readonly redoAfterMs?: number;
}

/** Up to when roll-ups are complete. */
export type RollupProgress = Readonly<Record<RollupResolution["name"], Date>>;

/**
 * Rolls heartbeats up: first into five minutes a device, then those into hours. It goes bucket by bucket, a large one in
 * shards of devices, each in one transaction with the note how far it came; so replicas may share the work, take turns by an
 * advisory lock, and go on where one was killed or all were away.
 *
 * A bucket is made {@link settleMs} after its end. Its heartbeats were received, by the service's own clock, before that end,
 * and are in the database by then, unless the database was away, a replica's clock is wrong, or the clock was set back. What
 * is stored later than that is noticed when it is stored, and its bucket is made anew: see {@link LateBuckets}.
 */
export class RollupJob implements AsyncDisposable {
  readonly #parts: RollupJobParts;
  readonly #rowsPerShard: number;
  readonly #late: LateBuckets;
  #round: Round | undefined;
  /** The resolution and day whose partition was made sure of last. */
  #ensuredDay = "";

  constructor(parts: RollupJobParts) {
    this.#parts = parts;
    this.#rowsPerShard = parts.rowsPerShard ?? defaultRowsPerShard;
    this.#late = new LateBuckets({ ...parts, settleMs });
  }

  /** Works now and then every quarter of a minute, until closed. */
  start(background: Background): void {
    this.#round = background.round({
      name: "roll_ups",
      everyMs: roundMs,
      atOnce: true,
      work: (signal) => this.run(signal),
    });
  }

  /** Is told of what is about to be stored: see {@link DurableHeartbeatObserver}. Notes what comes too late for its roll-up. */
  prepare(records: readonly DurableHeartbeat[]): Promise<void> | undefined {
    return this.#late.prepare(records);
  }

  /** Is told of what was stored. */
  observe(records: readonly DurableHeartbeat[]): void {
    this.#late.observe(records);
  }

  /** Up to when roll-ups are complete, as the database says. */
  async progress(): Promise<RollupProgress> {
    const rows = await this.#parts.pool.query<{ resolution: string; next_bucket: Date }>(progressSql);
    const of = (name: string) =>
      rows.find(({ resolution }) => resolution === name)?.next_bucket ?? new Date(0);
    return { "5m": of("5m"), "1h": of("1h") };
  }

  /** Does all that there is to do, unless another replica is doing it, or until the signal aborts. */
  async run(signal?: AbortSignal): Promise<void> {
    await this.#late.noteStored();
    await this.#begin();
    while (await this.#step(fiveMinutes)) signal?.throwIfAborted();
    while (await this.#step(oneHour)) signal?.throwIfAborted();
    while (await this.#redoLate()) signal?.throwIfAborted();
    this.#late.rolledUpUntil((await this.progress())["5m"]);
  }

  /** Ends after the transaction that runs. May be called more than once. */
  async close(): Promise<void> {
    await this.#round?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The first time of all begins with the oldest heartbeats that there are. */
  async #begin(): Promise<void> {
    const { pool, raw, clock } = this.#parts;
    if ((await pool.query(progressSql)).length === 2) return;
    let oldest = clock.now();
    for (const day of await raw.days()) {
      const some = await pool.query(someOfDaySql, [day.toISOString()]);
      if (some.length === 0) continue;
      oldest = day < oldest ? day : oldest;
      break;
    }
    for (const { name } of [fiveMinutes, oneHour]) {
      // Both at a full hour: an hour must be made of all of its five minutes.
      const first = new Date(Math.floor(oldest.getTime() / oneHour.widthMs) * oneHour.widthMs);
      await pool.run(beginSql, [name, first.toISOString()]);
    }
  }

  /** Makes one shard of the next bucket; false if there is none, or another replica is at work. */
  async #step(resolution: RollupResolution): Promise<boolean> {
    const progress = await this.progress();
    const next = progress[resolution.name];
    const due = this.#dueUntil(resolution, progress);
    if (next >= due) return false;
    await this.#ensure(resolution, next);
    if (resolution === fiveMinutes) await this.#summarize(next);
    return this.#locked(async (session) => {
      const [now] = await session.query<{ next_bucket: Date; shard: number; shards: number }>(shardSql, [
        resolution.name,
      ]);
      // Another replica was faster: look again.
      if (now === undefined || now.next_bucket.getTime() !== next.getTime()) return;
      const bounds = boundsOf(resolution, next);
      const shards = now.shard > 0 ? now.shards : await this.#shardsOf(session, resolution, bounds);
      if (shards === 0) {
        await this.#skip(session, resolution, next, due);
        return;
      }
      await session.run(resolution.insertSql, [...bounds, now.shard, shards]);
      const isLast = now.shard + 1 >= shards;
      await session.run(goOnSql, [
        resolution.name,
        bounds[isLast ? 1 : 0],
        isLast ? 0 : now.shard + 1,
        isLast ? 1 : shards,
      ]);
    });
  }

  /** Makes the partition of a bucket unless it was there a moment ago. */
  async #ensure({ name }: RollupResolution, bucket: Date): Promise<void> {
    const day = `${name} ${Math.floor(bucket.getTime() / dayMs)}`;
    if (this.#ensuredDay === day) return;
    await this.#parts.partitions[name].ensure(bucket);
    this.#ensuredDay = day;
  }

  /** The end of the last bucket that may be made now. */
  #dueUntil({ name, widthMs }: RollupResolution, progress: RollupProgress): Date {
    const untilMs = name === "5m" ? this.#parts.clock.now().getTime() - settleMs : progress["5m"].getTime();
    return new Date(Math.floor(untilMs / widthMs) * widthMs);
  }

  /** Passes an empty bucket, and with it the rest of its day, or of its hour, if that is empty too: outages are long. */
  async #skip(session: Session, resolution: RollupResolution, bucket: Date, due: Date): Promise<void> {
    const { widthMs, someSql } = resolution;
    let to = bucket.getTime() + widthMs;
    for (const windowMs of [dayMs, oneHour.widthMs]) {
      const end = Math.min((Math.floor(bucket.getTime() / windowMs) + 1) * windowMs, due.getTime());
      if (end <= to) continue;
      const [found] = await session.query<{ some: boolean }>(someSql, [
        bucket.toISOString(),
        new Date(end).toISOString(),
      ]);
      if (found?.some === true) continue;
      to = end;
      break;
    }
    await session.run(passSql, [resolution.name, new Date(to).toISOString()]);
  }

  /** Makes one late bucket anew, and the hour that it is part of; false if there is none. */
  async #redoLate(): Promise<boolean> {
    const { raw } = this.#parts;
    const late = await this.#late.next();
    if (late === undefined) return false;
    const { bucket } = late;
    const hour = new Date(Math.floor(bucket.getTime() / oneHour.widthMs) * oneHour.widthMs);
    await this.#ensure(fiveMinutes, bucket);
    await this.#summarize(bucket);
    return this.#locked(async (session) => {
      // What is left of a day that is being dropped would make a good roll-up worse.
      const firstKept = raw.firstKept();
      if (firstKept === undefined || bucket >= firstKept) {
        await this.#redo(session, fiveMinutes, bucket);
        const [hours] = await session.query<{ next_bucket: Date }>(shardSql, [oneHour.name]);
        if (hours !== undefined && hour < hours.next_bucket) await this.#redo(session, oneHour, hour);
      }
      await this.#late.done(session, late);
    });
  }

  async #redo(session: Session, resolution: RollupResolution, bucket: Date): Promise<void> {
    const bounds = boundsOf(resolution, bucket);
    await session.run(resolution.deleteSql, [bounds[0]]);
    const shards = await this.#shardsOf(session, resolution, bounds);
    for (let shard = 0; shard < shards; shard++)
      await session.run(resolution.insertSql, [...bounds, shard, shards]);
  }

  /** In how many shards to make a bucket; 0 if it is empty. */
  async #shardsOf(
    session: Session,
    resolution: RollupResolution,
    bounds: readonly string[],
  ): Promise<number> {
    const [counted] = await session.query<{ rows: number }>(resolution.countSql, bounds);
    return Math.ceil((counted?.rows ?? 0) / this.#rowsPerShard);
  }

  /**
   * Brings the index by time up to date. The newest pages are otherwise in no summary until the next vacuum, and are read in
   * vain for every bucket.
   */
  async #summarize(time: Date): Promise<void> {
    try {
      await this.#parts.raw.summarize(time);
    } catch (err) {
      // A vacuum is running, which does the same.
      this.#parts.logger.debug({ err }, "could not summarize the heartbeats' index by time");
    }
  }

  /** Works in a transaction under the lock; false if another replica has it. */
  async #locked(work: (session: Session) => Promise<void>): Promise<boolean> {
    return await this.#parts.pool.inTurn("roll-ups", work, { settings: planSql, statementTimeoutMs });
  }
}

/** How long after its end a bucket is made: what was received before is stored by then. */
const settleMs = 60_000;

/** How often to look whether a bucket is due. */
const roundMs = 15_000;

/**
 * Half a bucket of a million devices that beat once a minute. Each shard reads the whole bucket, so small ones cost a large
 * fleet more than the sort on disk that a large one needs: shards of 250,000 made the database read it twenty times.
 */
const defaultRowsPerShard = 2_500_000;

/** What a shard may take the database: some twenty seconds on a busy machine. */
const statementTimeoutMs = 120_000;

const dayMs = 24 * 60 * 60_000;

/**
 * A bucket is found by the index by time, also where statistics are too old to tell the planner how few of its day's rows a
 * bucket has, and a walk over the whole key looks cheaper. A device's custom metrics are grouped in the order in which they
 * come: see {@link RollupResolution.insertSql}. The memory is for the sort of a shard.
 */
const planSql = sql`SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
  SET LOCAL enable_hashagg = on; SET LOCAL work_mem = '64MB'`;

function boundsOf({ widthMs }: RollupResolution, bucket: Date): [from: string, to: string] {
  return [bucket.toISOString(), new Date(bucket.getTime() + widthMs).toISOString()];
}

const progressSql = sql`SELECT resolution, next_bucket FROM rollup_progress`;

const beginSql = sql`
  INSERT INTO rollup_progress (resolution, next_bucket) VALUES ($1, $2) ON CONFLICT DO NOTHING`;

const shardSql = sql`SELECT next_bucket, shard, shards FROM rollup_progress WHERE resolution = $1`;

const goOnSql = sql`
  UPDATE rollup_progress SET next_bucket = $2, shard = $3, shards = $4, updated_at = now() WHERE resolution = $1`;

const passSql = sql`UPDATE rollup_progress SET next_bucket = $2, updated_at = now() WHERE resolution = $1`;

/** By the time alone, so that the plan reads one partition. */
const someOfDaySql = sql`
  SELECT 1 FROM device_heartbeats WHERE received_at >= $1::timestamptz AND received_at < $1::timestamptz + interval '1 day'
  LIMIT 1`;
