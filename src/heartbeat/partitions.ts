import type pg from "pg";
import type { Clock } from "../infra/clock.ts";
import type { Logger } from "../infra/logger.ts";

/** What {@link HeartbeatPartitions} is made of. */
export interface HeartbeatPartitionsParts {
  readonly pool: pg.Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long heartbeats are kept, in whole days before today; 0 keeps them for ever. */
  readonly retentionDays: number;
  /** How many days after today have their partition ready: that long the maintenance may fail unnoticed. */
  readonly daysAhead?: number;
}

/**
 * The daily partitions of device_heartbeats, by UTC day of receipt: made ahead, and dropped as a whole when they are
 * older than the retention. Any number of replicas may do it; an advisory lock lets one at a time.
 */
export class HeartbeatPartitions implements AsyncDisposable {
  readonly #pool: pg.Pool;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #retentionDays: number;
  readonly #daysAhead: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(parts: HeartbeatPartitionsParts) {
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#retentionDays = parts.retentionDays;
    this.#daysAhead = parts.daysAhead ?? defaultDaysAhead;
  }

  /** Makes the partitions of today and the days ahead, drops old ones, and does so again every hour until closed. */
  async start(): Promise<void> {
    await this.maintain();
    this.#timer = setInterval(() => {
      this.#running ??= this.maintain()
        .catch((err: unknown) => this.#logger.error({ err }, "cannot maintain the partitions of heartbeats"))
        .finally(() => {
          this.#running = undefined;
        });
    }, maintenanceIntervalMs);
    this.#timer.unref();
  }

  /** One round of {@link start}. A partition that is in use is dropped in a later round. */
  async maintain(): Promise<void> {
    const today = startOfDay(this.#clock.now());
    const existing = new Set((await this.#list()).map(({ name }) => name));
    for (let ahead = 0; ahead <= this.#daysAhead; ahead++) {
      const day = new Date(today.getTime() + ahead * dayMs);
      if (!existing.has(partitionName(day))) await this.ensure(day);
    }
    if (this.#retentionDays > 0)
      await this.#dropBefore(new Date(today.getTime() - this.#retentionDays * dayMs));
  }

  /** Makes the partition of a day unless it is there. */
  async ensure(day: Date): Promise<void> {
    const start = startOfDay(day);
    const end = new Date(start.getTime() + dayMs);
    const name = partitionName(start);
    await this.#transaction(async (client) => {
      // Waits its turn, within the connection's lock_timeout: the caller needs the partition.
      await client.query("SELECT pg_advisory_xact_lock($1)", [partitionLock]);
      const made = await client.query("SELECT to_regclass($1) IS NOT NULL AS made", [name]);
      if (made.rows[0]?.made === true) return;
      // Attaching an empty table takes a weaker lock than CREATE ... PARTITION OF: writers do not stop for it. No CHECK
      // is needed to spare it a scan, there is nothing to scan.
      await client.query(`CREATE TABLE ${name} (LIKE device_heartbeats INCLUDING DEFAULTS)`);
      await client.query(
        `ALTER TABLE device_heartbeats ATTACH PARTITION ${name}
         FOR VALUES FROM ('${start.toISOString()}') TO ('${end.toISOString()}')`,
      );
    });
  }

  /** The days that have a partition, oldest first. */
  async days(): Promise<Date[]> {
    return (await this.#list()).map(({ day }) => day);
  }

  /** Stops the hourly round. May be called more than once. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #dropBefore(firstKept: Date): Promise<void> {
    for (const { name, day } of await this.#list()) {
      if (day.getTime() >= firstKept.getTime()) continue;
      try {
        await this.#transaction(async (client) => {
          const locked = await client.query("SELECT pg_try_advisory_xact_lock($1) AS locked", [
            partitionLock,
          ]);
          if (locked.rows[0]?.locked !== true) return;
          // Dropping locks the whole table: behind a long query it would hold up every writer that comes after it.
          await client.query(`SET LOCAL lock_timeout = '${dropLockTimeoutMs}ms'`);
          await client.query(`DROP TABLE IF EXISTS ${name}`);
          this.#logger.info({ partition: name }, "dropped heartbeats past their retention");
        });
      } catch (err) {
        this.#logger.warn({ err, partition: name }, "could not drop old heartbeats; trying again later");
      }
    }
  }

  async #list(): Promise<{ name: string; day: Date }[]> {
    const { rows } = await this.#pool.query<{ name: string }>(
      `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
       WHERE i.inhparent = 'device_heartbeats'::regclass ORDER BY c.relname`,
    );
    return rows.flatMap(({ name }) => {
      const day = dayOf(name);
      return day === undefined ? [] : [{ name, day }];
    });
  }

  async #transaction(work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
    const client = await this.#pool.connect();
    try {
      await client.query("BEGIN");
      await work(client);
      await client.query("COMMIT");
      client.release();
    } catch (error) {
      client.release(true);
      throw error;
    }
  }
}

const defaultDaysAhead = 7;
const maintenanceIntervalMs = 60 * 60 * 1_000;
const dropLockTimeoutMs = 1_000;
const dayMs = 24 * 60 * 60 * 1_000;

/** Names the lock to PostgreSQL: any number that nothing else in the database locks. */
const partitionLock = 7_236_400_912;

function startOfDay(time: Date): Date {
  return new Date(Math.floor(time.getTime() / dayMs) * dayMs);
}

function partitionName(day: Date): string {
  return `device_heartbeats_${day.toISOString().slice(0, 10).replaceAll("-", "")}`;
}

/** Undefined for a partition that is not ours, which is left alone. */
function dayOf(name: string): Date | undefined {
  const match = /^device_heartbeats_(\d{4})(\d{2})(\d{2})$/.exec(name);
  return match === null ? undefined : new Date(`${match[1]}-${match[2]}-${match[3]}T00:00:00Z`);
}
