import { setImmediate as nextTurn } from "node:timers/promises";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { AuditLog } from "../access/audit-log.ts";
import type { DeviceError, DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { Background } from "../infra/background/background.ts";
import type { Round } from "../infra/background/round.ts";
import { RowCounts } from "../infra/background/work-log.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { isDataError } from "../infra/database/errors.ts";
import { takeTurn } from "../infra/database/pool.ts";
import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { Logger } from "../infra/logger.ts";
import {
  countGroups,
  dropOldest,
  type InboxHeartbeat,
  lockGroups,
  readStored,
  takeHeartbeats,
  writeTally,
} from "./error-store.ts";
import { ErrorTally, regressionActor, type Sighting } from "./error-tally.ts";
import {
  buildIdsOf,
  type Fingerprint,
  fingerprintFrom,
  fingerprintOf,
  type ReadReport,
  readReport,
} from "./fingerprint.ts";
import { readRules } from "./grouping-rules.ts";
import { dropPartitionsBefore, ensurePartitions } from "./occurrence-partitions.ts";
import type { FindNames, SymbolTables } from "./symbols/symbol-names.ts";

/** What {@link ErrorCollector} is made of. */
export interface ErrorCollectorParts {
  readonly database: Pick<Database, "transact" | "pool">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long occurrences are kept, in whole days before today, as their heartbeats are; 0 keeps them for ever. */
  readonly retentionDays: number;
  /** Names raw addresses; none are named without it. */
  readonly symbols?: Pick<SymbolTables, "inTries"> | undefined;
  /** The most groups that there may be; whatever comes then is counted in one that stands for all others. */
  readonly maxGroups?: number;
}

/**
 * Groups and counts the errors of stored heartbeats, exactly once and off the hot path. A trigger notes each heartbeat that
 * has errors in the inbox, in the transaction that stores it; the collector takes notes out in the transaction that counts
 * them. So nothing is lost or doubled whenever a replica dies, and no clock decides what was seen already. Any number of
 * replicas may run one; an advisory lock lets one at a time.
 */
export class ErrorCollector implements AsyncDisposable {
  readonly #parts: ErrorCollectorParts;
  readonly #rows = new RowCounts();
  #round: Round | undefined;
  #purgedAtMs = Number.NEGATIVE_INFINITY;
  #urgent = false;
  #closed = false;

  constructor(parts: ErrorCollectorParts) {
    this.#parts = parts;
  }

  /** Collects from now on until closed. */
  start(background: Background): void {
    const options = {
      name: "error_collector",
      everyMs: pollMs,
      atOnce: true,
      afterFailureMs: outagePauseMs,
      work: async () => {
        this.#urgent = false;
        await this.collect();
        const nowMs = this.#parts.clock.monotonicMs();
        if (nowMs - this.#purgedAtMs <= purgeIntervalMs) return;
        await this.purge();
        this.#purgedAtMs = nowMs;
      },
    };
    this.#round = background.round(options, this.#rows);
  }

  /** An observer of durable heartbeats: brings the next round forward if there are errors in them. */
  observe(records: readonly DurableHeartbeat[]): void {
    if (this.#urgent || this.#round === undefined) return;
    if (!records.some(({ errors }) => errors.length > 0)) return;
    this.#urgent = true;
    this.#round.soon(urgentDelayMs);
  }

  /**
   * Works the inbox off; returns how many heartbeats were taken out of it. A batch with one whose errors cannot be counted is
   * halved until that one stands alone, and only its errors are not counted.
   */
  async collect(): Promise<number> {
    let total = 0;
    let limit = batchHeartbeats;
    while (!this.#closed) {
      let taken: number;
      try {
        taken = await this.#collectBatch(limit);
        this.#rows.written += taken;
      } catch (error) {
        if (!isDataError(error)) throw error;
        if (limit > 1) {
          limit >>= 1;
          continue;
        }
        taken = await this.#skipOne(error);
      }
      total += taken;
      if (taken < limit) return total;
      limit = Math.min(limit * 2, batchHeartbeats);
    }
    return total;
  }

  /** Forgets what is older than it is kept. Another replica that collects at the moment does it later itself. */
  async purge(): Promise<void> {
    const { database, clock, retentionDays, logger } = this.#parts;
    await database.pool.inTurn("error collector", async (session) => {
      const now = clock.now().getTime();
      if (retentionDays > 0) {
        const partitions = await dropPartitionsBefore(session, new Date(now - retentionDays * dayMs));
        if (partitions.length > 0) logger.info({ partitions }, "dropped occurrences past their retention");
      }
      const oldest = new Date(now - countRetentionDays * dayMs).toISOString();
      await session.run(forgetCountsSql, [oldest]);
      await session.run(forgetGroupsSql, [oldest]);
    });
  }

  /** Ends a round that runs after its batch. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#round?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #collectBatch(limit: number): Promise<number> {
    const { symbols } = this.#parts;
    if (symbols === undefined) return await this.#tryBatch(limit);
    return await symbols.inTries((findNames) => this.#tryBatch(limit, findNames));
  }

  async #tryBatch(limit: number, findNames?: FindNames): Promise<number> {
    return await this.#parts.database.transact(
      async (em, session) => {
        if (!(await takeTurn(session, "error collector"))) return 0;
        const { taken, heartbeats } = await takeHeartbeats(session, limit);
        if (heartbeats.length > 0)
          await this.#count(em, session, await this.#sightingsOf(session, heartbeats, findNames));
        return taken;
      },
      { retry: { attempts: maxAttempts } },
    );
  }

  /** Reads each report, names what symbol files know, and computes the fingerprints; others get a turn in between. */
  async #sightingsOf(
    session: Session,
    heartbeats: readonly InboxHeartbeat[],
    findNames: FindNames | undefined,
  ): Promise<Sighting[]> {
    const rules = await readRules(session);
    const reads = new Map<DeviceError, ReadReport>();
    const slice = new ComputeSlice();
    for (const report of heartbeats.flatMap(({ errors }) => errors)) {
      reads.set(report, readReport(report));
      await slice.pause();
    }
    const symbols = await findNames?.(session, [...reads.values()].flatMap(buildIdsOf));
    const sightings: Sighting[] = [];
    for (const { errors, receivedAtMs, ...heartbeat } of heartbeats) {
      for (const [position, report] of errors.entries()) {
        const read = reads.get(report) ?? readReport(report);
        const fingerprint = fingerprintFrom(read, { rules, symbols });
        sightings.push({ ...heartbeat, receivedAt: new Date(receivedAtMs), position, report, fingerprint });
        await slice.pause();
      }
    }
    return sightings;
  }

  /** Takes the oldest heartbeat out of the inbox and counts nothing of it. */
  async #skipOne(err: unknown): Promise<number> {
    return await this.#parts.database.pool.transact(async (session) => {
      if (!(await takeTurn(session, "error collector"))) return 0;
      const dropped = await dropOldest(session);
      if (dropped === undefined) return 0;
      this.#rows.refused++;
      this.#parts.logger.error({ err, ...dropped }, "errors of a heartbeat cannot be counted");
      return 1;
    });
  }

  async #count(em: EntityManager, session: Session, seen: readonly Sighting[]): Promise<void> {
    const { audit, logger } = this.#parts;
    const groups = await lockGroups(session, new Set(seen.map(({ fingerprint }) => fingerprint.sha256)));
    const known = new Set(groups.map(({ fingerprint }) => fingerprint));
    const sightings = await this.#withinLimit(session, seen, known);
    if (sightings !== seen) groups.push(...(await lockGroups(session, [overflow.sha256])));
    const tally = new ErrorTally(await readStored(session, groups, sightings));
    for (const sighting of sightings) tally.add(sighting);
    await ensurePartitions(
      session,
      new Set(sightings.map(({ receivedAt }) => receivedAt.toISOString().slice(0, 10))),
    );
    await writeTally(session, tally);
    for (const { groupId, resolvedVersion, seenVersion } of tally.regressions) {
      logger.warn({ errorGroup: groupId, resolvedVersion, seenVersion }, "a resolved error is back");
      await audit.record(em, {
        actor: regressionActor,
        action: "error_group.reopen",
        resourceType: "error_group",
        resourceId: groupId,
        reason: `seen again on ${seenVersion}`,
        details: { resolved_version: resolvedVersion, seen_version: seenVersion },
      });
    }
  }

  /** Errors that would make more groups than there may be go into one that stands for all others. */
  async #withinLimit(
    session: Session,
    seen: readonly Sighting[],
    known: ReadonlySet<string>,
  ): Promise<readonly Sighting[]> {
    const maxGroups = this.#parts.maxGroups ?? defaultMaxGroups;
    const fresh = new Set(
      seen.map(({ fingerprint }) => fingerprint.sha256).filter((sha256) => !known.has(sha256)),
    );
    if (fresh.size === 0) return seen;
    const room = maxGroups - (await countGroups(session, maxGroups));
    if (fresh.size <= room) return seen;
    const refused = new Set([...fresh].slice(Math.max(0, room)));
    return seen.map((each) =>
      refused.has(each.fingerprint.sha256)
        ? { ...each, fingerprint: overflow, report: { ...each.report, code: "OTHER" } }
        : each,
    );
  }
}

/**
 * Heartbeats of one transaction. Each may have 16 errors of 18,000 characters, so this bounds the memory to some 60 MB at
 * the very worst; ordinary batches are a few hundred kilobytes.
 */
const batchHeartbeats = 200;

/** How long an error that another replica stored may wait. */
const pollMs = 1_000;

/** After an error came in: time for others of the same burst to join it. */
const urgentDelayMs = 100;

const outagePauseMs = 5_000;
const purgeIntervalMs = 3_600_000;
const maxAttempts = 5;

/** What the contract's longest timeline shows. */
const countRetentionDays = 400;

/** Bounds what devices that make up errors can store, at a few kilobytes a group. */
const defaultMaxGroups = 50_000;

const forgetCountsSql = sql`DELETE FROM error_counts WHERE day < $1::timestamptz::date`;
const forgetGroupsSql = sql`DELETE FROM error_groups WHERE last_seen_at < $1::timestamptz`;

const dayMs = 24 * 3_600_000;

/** How long fingerprints may be computed before others get a turn. */
const computeSliceMs = 5;

const overflow: Fingerprint = {
  ...fingerprintOf({ code: "OTHER", message: "errors beyond the most groups", stack: "" }),
  title: "Other errors: there are too many different ones to group",
};

/** Gives others a turn whenever {@link computeSliceMs} have passed. */
class ComputeSlice {
  #endsMs = performance.now() + computeSliceMs;

  async pause(): Promise<void> {
    if (performance.now() <= this.#endsMs) return;
    await nextTurn();
    this.#endsMs = performance.now() + computeSliceMs;
  }
}
