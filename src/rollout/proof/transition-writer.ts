import { OtaError } from "../../errors.ts";
import { Alarm } from "../../infra/alarm.ts";
import { Round } from "../../infra/background/round.ts";
import { RowCounts } from "../../infra/background/work-log.ts";
import type { Clock } from "../../infra/clock.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import type { Pool } from "../../infra/database/pool.ts";
import { sql } from "../../infra/database/sql.ts";
import type { Logger } from "../../infra/logger.ts";
import { type FurtherTry, type NewOffer, type OfferOutcome, rolloutsOf } from "./transition-offers.ts";
import { type BatchResult, type UpdateChange, writeBatch } from "./transition-sql.ts";

/** What a {@link TransitionWriter} is made of. */
export interface TransitionWriterParts {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told after each commit which rollouts' counters changed. Must not throw. */
  readonly committed: (rolloutIds: ReadonlySet<string>) => void;
  /** Told of each outage and of each success of the database. Must not throw. */
  readonly database: { failed(): void; worked(): void };
}

/** What became of a change. `stale`: the update was not in the state that the caller saw. */
export type ChangeOutcome = "applied" | "stale";

/**
 * The only one to write how devices' updates go. Changes that come within {@link lingerMs} share a transaction, so that a
 * thousand devices that report at once cost a few transactions and a hot ring's counters are written once in each.
 *
 * Evidence (what heartbeats proved, or a deadline) is kept and tried again through an outage, for as long as the service
 * runs: at most one change an open update is under way, which bounds it. What a caller waits for fails at once with
 * `DATABASE_UNAVAILABLE`, and the caller tries again. A change whose commit was in doubt is found `stale` the second time.
 */
export class TransitionWriter {
  /** One run writes one batch. */
  readonly round: Round;
  readonly #parts: TransitionWriterParts;
  readonly #rows = new RowCounts(() => this.#queue.length);
  /** Rings when a batch is full while it waits for more. */
  readonly #full = new Alarm();
  #queue: Entry[] = [];
  /** How many waited when the next batch was asked for. */
  #waitedFor = 0;
  #closed = false;

  constructor(parts: TransitionWriterParts) {
    this.#parts = parts;
    const { clock, logger } = parts;
    const work = (signal: AbortSignal) => this.#run(signal);
    this.round = new Round({ name: "update_transitions", work, clock, logger }, this.#rows);
  }

  /** How many changes and offers wait. */
  get size(): number {
    return this.#queue.length;
  }

  /** Writes a change for a caller who waits. */
  change(change: UpdateChange): Promise<ChangeOutcome> {
    return this.#submit<ChangeOutcome>({ kind: "change", change, keep: false });
  }

  /** Writes a change that must not get lost. Rejects only when the service closes. */
  evidence(change: UpdateChange): Promise<ChangeOutcome> {
    return this.#submit<ChangeOutcome>({ kind: "change", change, keep: true });
  }

  /** Makes an offer for a device that waits, or lets it begin with a further try. */
  offer(offer: NewOffer | FurtherTry): Promise<OfferOutcome> {
    return this.#submit<OfferOutcome>({ kind: "offer", offer, keep: false });
  }

  /** Writes what waits, once, and takes no more. May be called more than once. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.round.close();
    while (this.#queue.length > 0) await this.#write(this.#take());
  }

  #submit<Outcome>(wanted: Omit<ChangeEntry, "resolve" | "reject"> | Omit<OfferEntry, "resolve" | "reject">) {
    if (this.#closed) return Promise.reject(shuttingDown());
    if (!wanted.keep && this.#queue.length >= maxQueue) return Promise.reject(queueFull());
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    this.#queue.push({ ...wanted, resolve, reject } as Entry);
    const { length } = this.#queue;
    if (length === 1) this.#schedule(lingerMs);
    else if (length === maxBatch) {
      this.#full.ring();
      this.#schedule(0);
    }
    return promise;
  }

  #schedule(afterMs: number): void {
    this.#waitedFor = this.#queue.length;
    this.round.soon(afterMs);
  }

  /** Writes one batch, once no more comes to share it. */
  async #run(signal: AbortSignal): Promise<void> {
    await this.#gather(signal);
    if (this.#queue.length === 0) return;
    const outage = await this.#write(this.#take());
    if (this.#queue.length > 0) this.#schedule(outage === undefined ? lingerMs : outagePauseMs);
    if (outage !== undefined) throw outage;
  }

  /** Waits while more and more comes. */
  async #gather(signal: AbortSignal): Promise<void> {
    let before = this.#waitedFor;
    for (let waitedMs = lingerMs; waitedMs < maxLingerMs; waitedMs += lingerMs) {
      const { length } = this.#queue;
      if (length <= before || length >= maxBatch || signal.aborted) return;
      before = length;
      await this.#full.wait(lingerMs, signal);
    }
  }

  /** Returns the outage that kept the entries from being written, if one did. */
  async #write(batch: readonly Entry[]): Promise<OtaError | undefined> {
    const changes = batch.filter((entry) => entry.kind === "change");
    const offers = batch.filter((entry) => entry.kind === "offer");
    const { logger, database, committed } = this.#parts;
    try {
      const result = await this.#parts.pool.transact(
        (session): Promise<BatchResult> =>
          writeBatch(
            session,
            changes.map(({ change }) => change),
            offers.map(({ offer }) => offer),
          ),
        { retry: { attempts: maxAttempts }, settings: byKeySql },
      );
      database.worked();
      this.#rows.written += batch.length;
      for (const entry of changes) {
        entry.resolve(result.applied.has(entry.change.key.id) ? "applied" : "stale");
      }
      for (const entry of offers) entry.resolve(result.offers.get(entry.offer.id) ?? "not_open");
      committed(new Set(batch.flatMap(rolloutIdsOf)));
      return undefined;
    } catch (error) {
      const outage = asDatabaseError(error);
      if (outage === undefined && batch.length > 1) {
        // One entry spoils the batch: halve until it is alone.
        const half = batch.length >> 1;
        const outages = [await this.#write(batch.slice(0, half)), await this.#write(batch.slice(half))];
        return outages.find((each) => each !== undefined);
      }
      if (outage === undefined) {
        this.#rows.refused += batch.length;
        logger.error(
          { err: error, rolloutIds: batch.flatMap(rolloutIdsOf) },
          "cannot write how an update goes",
        );
      } else database.failed();
      for (const entry of batch) {
        if (entry.keep && outage !== undefined && !this.#closed) {
          this.#queue.push(entry);
          continue;
        }
        if (outage !== undefined) this.#rows.lost++;
        entry.reject(outage ?? error);
      }
      return outage;
    }
  }

  /** The next entries, one a device at most: a second one waits for what becomes of the first. */
  #take(): Entry[] {
    const batch: Entry[] = [];
    const rest: Entry[] = [];
    const devices = new Set<string>();
    for (const entry of this.#queue) {
      const deviceId = entry.kind === "change" ? entry.change.key.deviceId : entry.offer.deviceId;
      if (batch.length < maxBatch && !devices.has(deviceId)) {
        devices.add(deviceId);
        batch.push(entry);
      } else rest.push(entry);
    }
    this.#queue = rest;
    return batch;
  }
}

/** How long the first change waits for company: not felt by a device, and enough for a burst to begin. */
const lingerMs = 3;

/** How long it waits while a burst goes on: a transaction costs as much as some tens of entries. */
const maxLingerMs = 15;

/** Entries of a transaction: some milliseconds of work, so that locks are short. */
const maxBatch = 500;

/** Callers' entries that may wait; what comes on top is told to come back. Evidence is bounded by the open updates. */
const maxQueue = 20_000;

/** Transactions that a deadlock picked are run again this often. */
const maxAttempts = 5;

/**
 * All that is written is found by its key. Plans are kept for long, and one that was made while a table was small must not
 * read all of it once it is large.
 */
const byKeySql = sql`SET LOCAL enable_seqscan = off`;

const outagePauseMs = 500;

interface Submission {
  readonly keep: boolean;
  reject(error: unknown): void;
}

interface ChangeEntry extends Submission {
  readonly kind: "change";
  readonly change: UpdateChange;
  resolve(outcome: ChangeOutcome): void;
}

interface OfferEntry extends Submission {
  readonly kind: "offer";
  readonly offer: NewOffer | FurtherTry;
  resolve(outcome: OfferOutcome): void;
}

type Entry = ChangeEntry | OfferEntry;

function rolloutIdsOf(entry: Entry): readonly string[] {
  return entry.kind === "change" ? [entry.change.rolloutId] : rolloutsOf(entry.offer);
}

function shuttingDown(): OtaError {
  return new OtaError("unavailable", "SHUTTING_DOWN", "the service is stopping", { retryAfterMs: 1_000 });
}

function queueFull(): OtaError {
  return new OtaError("resource_exhausted", "QUEUE_FULL", "too many updates change at once; try again soon", {
    retryAfterMs: 1_000,
  });
}
