import type { Background } from "../background/background.ts";
import type { Round } from "../background/round.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import { dropPartition, makePartition, summarizePartition } from "./partition-functions.ts";
import type { Pool } from "./pool.ts";
import { sql } from "./sql.ts";

/** What {@link TimePartitions} is made of. */
export interface TimePartitionsParts {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A table that is partitioned by range of a timestamptz column. Its partitions are called after it and their first day. */
  readonly table: string;
  /** How many days one partition holds: 1, or 7 from Thursday on, as the Unix epoch began. */
  readonly daysEach: 1 | 7;
  /** How long rows are kept, in whole days before today; 0 keeps them for ever. */
  readonly retentionDays: number;
  /** How many partitions after the present one are ready: that long the maintenance may fail unnoticed. */
  readonly ahead?: number;
}

/**
 * The partitions of a table by UTC day or week: made ahead, and dropped as a whole when all of it is older than the
 * retention. Any number of replicas may do it; an advisory lock lets one at a time.
 *
 * What a wrong clock does: a clock that is behind keeps old partitions for longer and writes to the ones of its time, which
 * are made if they are missing. A clock that is ahead drops nothing before its time, because the server's clock must agree.
 */
export class TimePartitions implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #table: string;
  readonly #spanMs: number;
  readonly #retentionDays: number;
  readonly #ahead: number;
  #round: Round | undefined;
  /** The first day of the oldest partition, as far as this replica knows. */
  #oldest: Date | undefined;

  constructor(parts: TimePartitionsParts) {
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#table = parts.table;
    this.#spanMs = parts.daysEach * dayMs;
    this.#retentionDays = parts.retentionDays;
    this.#ahead = parts.ahead ?? defaultAhead;
  }

  /** Makes the present partition and those ahead, drops old ones, and does so again every hour until closed. */
  async start(background: Background): Promise<void> {
    await this.maintain();
    this.#round = background.round({
      name: `partitions_${this.#table}`,
      everyMs: maintenanceIntervalMs,
      work: () => this.maintain(),
    });
  }

  /** One round of {@link start}. A partition that is in use is dropped in a later round. */
  async maintain(): Promise<void> {
    const present = this.#startOf(this.#clock.now());
    const existing = new Set((await this.#list()).map(({ name }) => name));
    for (let ahead = 0; ahead <= this.#ahead; ahead++) {
      const start = new Date(present.getTime() + ahead * this.#spanMs);
      if (!existing.has(this.#nameOf(start))) await this.ensure(start);
    }
    const firstKept = this.firstKept();
    if (firstKept !== undefined) await this.#dropBefore(firstKept);
    this.#oldest = (await this.#list())[0]?.day;
  }

  /** The start of the oldest day whose rows are kept now; undefined if all are. */
  firstKept(): Date | undefined {
    if (this.#retentionDays === 0) return undefined;
    const today = Math.floor(this.#clock.now().getTime() / dayMs) * dayMs;
    return new Date(today - this.#retentionDays * dayMs);
  }

  /**
   * From when on there can be rows: from the oldest partition on, as the last round of maintenance found it, but none before
   * {@link firstKept}. Undefined as long as no partition is known.
   */
  rowsFrom(): Date | undefined {
    const firstKept = this.firstKept();
    if (this.#oldest === undefined || firstKept === undefined) return this.#oldest;
    return firstKept > this.#oldest ? firstKept : this.#oldest;
  }

  /** Makes the partition that holds a time unless it is there. */
  async ensure(time: Date): Promise<void> {
    const start = this.#startOf(time);
    const end = new Date(start.getTime() + this.#spanMs);
    const name = this.#nameOf(start);
    // Waits its turn, within the connection's lock_timeout: the caller needs the partition.
    await this.#pool.transact((session) => makePartition(session, { table: this.#table, name, start, end }), {
      lock: "partitions",
    });
    if (this.#oldest === undefined || start < this.#oldest) this.#oldest = start;
  }

  /** Brings the BRIN indexes of the partition that holds a time up to date; fails while a vacuum does the same. */
  async summarize(time: Date): Promise<void> {
    await summarizePartition(this.#pool, { table: this.#table, name: this.#nameOf(this.#startOf(time)) });
  }

  /** The first days of the partitions that there are, oldest first. */
  async days(): Promise<Date[]> {
    return (await this.#list()).map(({ day }) => day);
  }

  /** Stops the hourly round. May be called more than once. */
  async close(): Promise<void> {
    await this.#round?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #dropBefore(firstKept: Date): Promise<void> {
    const [agreed] = await this.#pool.query<{ day: Date }>(keptFromSql, [
      firstKept.toISOString(),
      this.#retentionDays,
    ]);
    const keptFromMs = agreed?.day.getTime() ?? 0;
    for (const { name, day } of await this.#list()) {
      if (day.getTime() + this.#spanMs > keptFromMs) continue;
      try {
        await this.#pool.inTurn("partitions", async (session) => {
          // Dropping locks the whole table: behind a long query it would hold up every writer that comes after it.
          await session.run(sql`SET LOCAL lock_timeout = ${dropLockTimeoutMs}`);
          await dropPartition(session, { table: this.#table, name });
          this.#logger.info({ partition: name }, "dropped a partition past its retention");
        });
      } catch (err) {
        this.#logger.warn({ err, partition: name }, "could not drop an old partition; trying again later");
      }
    }
  }

  async #list(): Promise<{ name: string; day: Date }[]> {
    const rows = await this.#pool.query<{ name: string }>(partitionsSql, [this.#table]);
    return rows.flatMap(({ name }) => {
      const day = this.#dayOf(name);
      return day === undefined ? [] : [{ name, day }];
    });
  }

  #startOf(time: Date): Date {
    return new Date(Math.floor(time.getTime() / this.#spanMs) * this.#spanMs);
  }

  #nameOf(start: Date): string {
    return `${this.#table}_${start.toISOString().slice(0, 10).replaceAll("-", "")}`;
  }

  /** Undefined for a partition that is not ours, which is left alone. */
  #dayOf(name: string): Date | undefined {
    const match = /^_(\d{4})(\d{2})(\d{2})$/.exec(name.slice(this.#table.length));
    return match === null ? undefined : new Date(`${match[1]}-${match[2]}-${match[3]}T00:00:00Z`);
  }
}

const keptFromSql = sql`
  SELECT least($1::timestamptz, date_trunc('day', now(), 'UTC') - $2 * interval '1 day') AS day`;

const partitionsSql = sql`
  SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = $1::regclass ORDER BY c.relname`;

const defaultAhead = 7;
const maintenanceIntervalMs = 60 * 60 * 1_000;

/** In milliseconds; more than PostgreSQL's deadlock_timeout of a second, after which an autovacuum that is in the way gives way. */
const dropLockTimeoutMs = 1_500;

const dayMs = 24 * 60 * 60 * 1_000;
