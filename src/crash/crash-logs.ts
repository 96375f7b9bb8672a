import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { v7 as uuidv7 } from "uuid";
import { notFound, OtaError } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { asDatabaseError } from "../infra/database/errors.ts";
import type { Pool } from "../infra/database/pool.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";
import type { ObjectStore } from "../infra/objects/object-store.ts";
import { decodeCrashLog, encodeCrashLog, maxCrashLogBytes, maxObjectBytes } from "./crash-log-codec.ts";

/** A crash log that is stored. */
export interface CrashLog {
  readonly id: string;
  readonly deviceId: string;
  readonly sizeBytes: number;
  /** Of the content, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly createdAt: Date;
}

/** Crash logs that a device may upload within a period, on whichever replica. */
export interface CrashLogQuota {
  readonly logs: number;
  readonly periodMs: number;
}

/** What {@link CrashLogs} is made of. */
export interface CrashLogsParts {
  readonly database: Pick<Database, "pool">;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long logs are kept, in days, as the heartbeats that name them; 0 keeps them for ever. */
  readonly retentionDays: number;
  /** Undefined: no limit. */
  readonly logQuota: CrashLogQuota | undefined;
}

/** Crash logs in the object store, compressed. */
export class CrashLogs {
  readonly #parts: CrashLogsParts;
  readonly #pool: Pool;

  constructor(parts: CrashLogsParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
  }

  /**
   * Takes a log in. Throws `MESSAGE_TOO_LARGE` beyond 1 MiB, `RATE_LIMITED` beyond the device's quota, and
   * `DEADLINE_EXCEEDED` for one that takes longer than {@link receiveTimeoutMs} to arrive. How many may be on their way is the
   * pipeline's to say. What breaks off, before its end or while it is stored, is no log and counts for nothing.
   */
  async receive(deviceId: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<CrashLog> {
    // Before anything is read, though others of the device may still pass it; the row is what counts.
    await this.#databaseErrors(() => this.#requireQuota(this.#pool, deviceId));
    return await this.#store(deviceId, await gather(chunks, signal), signal);
  }

  /** The content of a log. Throws `NOT_FOUND`. */
  async read(id: string, signal: AbortSignal): Promise<Buffer> {
    const [row] = await this.#pool.query<{ object_sha256: string }>(readSql, [id]);
    if (row === undefined) throw notFound("crash log", id);
    return await decodeCrashLog(await buffer(await this.#parts.store.read(row.object_sha256, { signal })));
  }

  /**
   * Removes logs that no heartbeat named within a day, those whose upload broke off, and those past their retention, with
   * their objects. Returns how many. What cannot be removed now is tried again in the next round.
   */
  async removeOld(): Promise<number> {
    const { clock, store, retentionDays, logger } = this.#parts;
    const now = clock.now().getTime();
    let removed = 0;
    for (;;) {
      const rows = await this.#pool.query<{ id: string; object_sha256: string }>(oldSql, [
        new Date(now - unnamedMs).toISOString(),
        retentionDays === 0 ? null : new Date(now - retentionDays * dayMs).toISOString(),
        removeAtOnce,
      ]);
      for (const { id, object_sha256 } of rows) {
        // The object first: a row without an object is found and removed again, an object without a row is not.
        await store.delete(object_sha256);
        await this.#pool.run(deleteSql, [id]);
        removed++;
      }
      if (rows.length < removeAtOnce) break;
    }
    if (removed > 0) logger.info({ removed }, "removed old crash logs");
    return removed;
  }

  /** Stores a log that is in memory. The row comes first, so that no object is ever without one. */
  async #store(deviceId: string, content: Buffer, signal: AbortSignal): Promise<CrashLog> {
    const id = uuidv7();
    const object = await encodeCrashLog(id, content);
    const log = {
      id,
      deviceId,
      sizeBytes: content.length,
      sha256: createHash("sha256").update(content).digest("hex"),
      createdAt: this.#parts.clock.now(),
    };
    const expected = { sha256: createHash("sha256").update(object).digest("hex"), sizeBytes: object.length };
    signal.throwIfAborted();
    await this.#databaseErrors(() => this.#reserve(log, expected.sha256));
    try {
      await this.#parts.store.put(single(object), { maxBytes: maxObjectBytes, expected, signal });
      signal.throwIfAborted();
      await this.#databaseErrors(() => this.#pool.run(storedSql, [id]));
      return log;
    } catch (error) {
      await this.#takeBack(id, expected.sha256);
      throw error;
    }
  }

  /** Writes the row of a log that is about to be stored, one at a time of each device: so it counts for the next one. */
  async #reserve({ id, deviceId, sha256, sizeBytes, createdAt }: CrashLog, object: string): Promise<void> {
    await this.#pool.transact(async (session) => {
      await session.run(lockDeviceSql, [quotaLock, deviceId]);
      await this.#requireQuota(session, deviceId);
      await session.run(insertSql, [id, deviceId, sha256, sizeBytes, object, createdAt.toISOString()]);
    });
  }

  /** Removes what is there of a log that broke off. What cannot be removed now is removed by {@link CrashLogs.removeOld}. */
  async #takeBack(id: string, object: string): Promise<void> {
    try {
      await this.#parts.store.delete(object);
      await this.#pool.run(deleteSql, [id]);
    } catch (error) {
      this.#parts.logger.warn({ err: error, crashLogId: id }, "what is left of a crash log is removed later");
    }
  }

  async #requireQuota(session: ReadSession, deviceId: string): Promise<void> {
    const { clock, logQuota } = this.#parts;
    if (logQuota === undefined) return;
    const nowMs = clock.now().getTime();
    const since = new Date(nowMs - logQuota.periodMs);
    const [oldest] = await session.query<{ created_at: Date }>(countedSql, [
      deviceId,
      since.toISOString(),
      new Date(nowMs - storingMs).toISOString(),
      logQuota.logs - 1,
    ]);
    if (oldest === undefined) return;
    throw new OtaError(
      "resource_exhausted",
      "RATE_LIMITED",
      `a device may upload ${logQuota.logs} crash logs within ${logQuota.periodMs / 1_000} s`,
      {
        metadata: { limit: "crash_log" },
        retryAfterMs: Math.max(1_000, oldest.created_at.getTime() - since.getTime()),
      },
    );
  }

  async #databaseErrors<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }
}

/** A log whose row is older and whose content is not there yet broke off with its replica; it counts for no quota. */
const storingMs = 120_000;

/** The first half of the advisory locks of devices' quotas. */
const quotaLock = 0x63_72_6c_67;

/** Time for a log to arrive: 1 MiB in it takes 140 kbit/s. */
const receiveTimeoutMs = 60_000;

/** How long a log may wait for the heartbeat that names it. */
const unnamedMs = 24 * 3_600_000;

const removeAtOnce = 100;
const dayMs = 24 * 3_600_000;

const readSql = sql`SELECT object_sha256 FROM crash_logs WHERE id = $1 AND stored_at IS NOT NULL`;

const oldSql = sql`
  SELECT id, object_sha256 FROM crash_logs
  WHERE (created_at < $1 AND referenced_at IS NULL) OR ($2::timestamptz IS NOT NULL AND created_at < $2)
  ORDER BY created_at LIMIT $3`;

const deleteSql = sql`DELETE FROM crash_logs WHERE id = $1`;

const insertSql = sql`
  INSERT INTO crash_logs (id, device_id, sha256, size_bytes, object_sha256, created_at)
  VALUES ($1, $2, $3, $4, $5, $6)`;

const storedSql = sql`UPDATE crash_logs SET stored_at = now() WHERE id = $1`;

const lockDeviceSql = sql`SELECT pg_advisory_xact_lock($1::int, hashtext($2))`;

const countedSql = sql`
  SELECT created_at FROM crash_logs
  WHERE device_id = $1 AND created_at > $2 AND (stored_at IS NOT NULL OR created_at > $3)
  ORDER BY created_at DESC LIMIT 1 OFFSET $4`;

async function gather(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Buffer> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(tooSlow()), receiveTimeoutMs);
  timer.unref();
  const iterator = chunks[Symbol.asyncIterator]();
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), late]);
      signal.throwIfAborted();
      if (next.done === true) return Buffer.concat(parts, sizeBytes);
      sizeBytes += next.value.length;
      if (sizeBytes > maxCrashLogBytes) throw tooLarge();
      parts.push(next.value);
    }
  } catch (error) {
    // Not awaited: a sender that says nothing more does not let the iterator return.
    void iterator.return?.().catch(() => undefined);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** RESOURCE_EXHAUSTED for a log of more than 1 MiB. */
export function tooLarge(): OtaError {
  return new OtaError(
    "resource_exhausted",
    "MESSAGE_TOO_LARGE",
    `a crash log may have ${maxCrashLogBytes} bytes: send its end`,
    { metadata: { max_bytes: String(maxCrashLogBytes), httpStatus: "413" } },
  );
}

function tooSlow(): OtaError {
  return new OtaError(
    "deadline_exceeded",
    "DEADLINE_EXCEEDED",
    `the crash log did not arrive within ${receiveTimeoutMs / 1_000} s`,
  );
}
