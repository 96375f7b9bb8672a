import type pg from "pg";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { Clock } from "../infra/clock.ts";
import type { Logger } from "../infra/logger.ts";
import type { IngestMetrics } from "../infra/metrics.ts";
import type { HeartbeatCopyEncoder } from "./copy-encoder.ts";
import { counterLost, staleEpoch, superseded } from "./device-refusals.ts";
import { type DeviceGroup, groupByDevice, halves, type Slice } from "./flush-groups.ts";
import { FlushJob } from "./flush-job.ts";
import type { HeartbeatFaults } from "./heartbeat-faults.ts";
import type { QueuedBatch } from "./heartbeat-queue.ts";
import { describeBadRow, kindOfFailure } from "./ingest-failures.ts";
import type { HeartbeatObservers } from "./ingest-observers.ts";
import {
  type DeviceVerdict,
  IngestFailure,
  inEpoch,
  registerDevices,
  storeHeartbeats,
} from "./ingest-transaction.ts";
import type { KnownBoots } from "./known-boots.ts";

/** What every {@link HeartbeatFlush} works with. */
export interface FlushParts {
  readonly pool: pg.Pool;
  readonly partitions: { ensure(day: Date): Promise<void> };
  readonly observers: HeartbeatObservers;
  readonly metrics: IngestMetrics;
  readonly faults: HeartbeatFaults;
  readonly boots: KnownBoots;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called for each batch before its submitter is told. */
  readonly release: (batch: QueuedBatch) => void;
}

/**
 * Brings a set of batches into the database, whatever it takes: in one transaction if all is well; in halves, and
 * halves of halves, around a row that the server refuses; again after a deadlock, or after a missing partition was
 * made. What an outage interrupts can be run again: what was committed stays committed and is not repeated.
 */
export class HeartbeatFlush {
  /** Why the last run stopped; undefined after one that did not. */
  outage: unknown;
  readonly #parts: FlushParts;
  readonly #encoder: HeartbeatCopyEncoder;
  readonly #jobs: FlushJob[];
  /** Transactions to do, the next one last. */
  readonly #work: Slice[][];
  /** Set when a commit was not answered: what then turns out to be stored was not told to the observers. */
  #observeStored = false;
  #retries = 0;

  /** All batches of a device must be of one epoch and one stream; the encoder is the flush's alone. */
  constructor(batches: readonly QueuedBatch[], encoder: HeartbeatCopyEncoder, parts: FlushParts) {
    this.#parts = parts;
    this.#encoder = encoder;
    this.#jobs = batches.map((batch) => new FlushJob(batch, parts.release));
    this.#work = [this.#jobs.map((job) => ({ job, records: job.batch.submission.records }))];
  }

  /** Whether nobody waits for it any more. */
  get isEmpty(): boolean {
    return this.#jobs.every(({ isSettled }) => isSettled);
  }

  /** Works until all is stored or refused and everyone is told (true), or until the database is away (false). */
  async run(): Promise<boolean> {
    this.outage = undefined;
    this.#retries = 0;
    for (let slices = this.#work.pop(); slices !== undefined; slices = this.#work.pop()) {
      try {
        await this.#store(slices);
        this.#retries = 0;
      } catch (error) {
        const goesOn = await this.#recover(slices, error);
        if (!goesOn) return false;
      }
    }
    for (const job of this.#jobs) job.settle();
    return true;
  }

  /** Gives up the batches of submitters that want no wait. */
  failFast(error: unknown): void {
    for (const job of this.#jobs) if (job.batch.submission.failFast) job.abandon(error);
    for (const [index, slices] of this.#work.entries()) {
      this.#work[index] = slices.filter(({ job }) => !job.isSettled);
    }
  }

  /** Gives up everything. */
  abandon(error: unknown): void {
    this.#work.length = 0;
    for (const job of this.#jobs) job.abandon(error);
  }

  async #store(slices: readonly Slice[]): Promise<void> {
    const groups = groupByDevice(slices);
    if (groups.length === 0) return;
    const { pool, observers, clock, metrics } = this.#parts;
    await observers.prepare(slices.flatMap(({ records }) => records)).catch((error: unknown) => {
      throw new IngestFailure(error, false);
    });
    const startedMs = clock.monotonicMs();
    const verdicts = await storeHeartbeats(pool, this.#encoder, groups);
    metrics.flushSeconds.observe((clock.monotonicMs() - startedMs) / 1_000);
    const stored: HeartbeatRecord[] = [];
    const unregistered: DeviceGroup[] = [];
    const repeats: Repeats[] = [];
    let sent = 0;
    for (const [index, group] of groups.entries()) {
      const verdict = verdicts[index] as DeviceVerdict;
      sent += group.sent;
      if (verdict.kind === "unregistered") unregistered.push(group);
      else if (verdict.kind === "stored") {
        const repeated = this.#noteStored(group, verdict, stored);
        if (repeated !== undefined) repeats.push(repeated);
      } else if (verdict.kind === "full") this.#countAnew(group, verdict.epoch, group.slices);
      else for (const { job } of group.slices) job.fail(refusal(group.deviceId, verdict));
    }
    metrics.flushRows.observe(sent);
    metrics.rowsWritten.inc(stored.length);
    observers.observe(stored);
    const newest = repeats.flatMap(({ records }) => records.at(-1) ?? []);
    const begun = await this.#parts.boots.newOnes(newest).catch((error: unknown) => {
      throw new PartialFailure(
        [...repeats, ...unregistered].flatMap(({ slices: left }) => left),
        error,
      );
    });
    for (const repeated of repeats) this.#judgeRepeats(repeated, begun);
    if (unregistered.length > 0) {
      this.#work.push(unregistered.flatMap((group) => group.slices));
      await registerDevices(
        pool,
        unregistered.map(({ deviceId }) => deviceId),
      ).catch((error: unknown) => {
        this.#work.pop();
        throw new PartialFailure(
          unregistered.flatMap((group) => group.slices),
          error,
        );
      });
    }
  }

  /** Returns what was not stored because it lay at or below the device's mark. */
  #noteStored(group: DeviceGroup, verdict: StoredVerdict, stored: HeartbeatRecord[]): Repeats | undefined {
    for (const record of verdict.records) stored.push(record);
    for (const { job } of group.slices) job.storedThrough(verdict.epoch, verdict.mark);
    const duplicates = group.sent - verdict.records.length;
    if (duplicates === 0) return undefined;
    const fresh = new Set(verdict.records.map(({ sequence }) => sequence));
    const isOld = ({ sequence }: HeartbeatRecord) => sequence > 0 && !fresh.has(sequence);
    const records = group.records.filter(isOld);
    const isOvertaken = group.isOvertaken || verdict.records.length > 0;
    const slices = group.slices.map((slice) => ({
      ...slice,
      isOvertaken,
      records: slice.records.filter(isOld),
    }));
    return { group, verdict, duplicates, records, slices, isOvertaken };
  }

  /** Tells repeats, which are done, from heartbeats of a counter that began again (`begun`), which are still to be stored. */
  #judgeRepeats(
    { group, verdict, duplicates, records, slices, isOvertaken }: Repeats,
    begun: ReadonlySet<HeartbeatRecord>,
  ): void {
    const newest = records.at(-1);
    if (newest !== undefined && begun.has(newest)) {
      if (!isOvertaken || group.followsEpoch) this.#countAnew(group, verdict.epoch, slices);
      else this.#refuseRepeats(slices);
    } else if (this.#observeStored) {
      this.#parts.observers.observe(inEpoch(records, verdict.epoch));
    } else {
      this.#parts.faults.repeated(group.deviceId, duplicates, newest?.sequence ?? 0);
    }
  }

  /** Refuses heartbeats of a counter that began again where later ones are stored: told to begin anew, the device would repeat those. */
  #refuseRepeats(slices: readonly Slice[]): void {
    for (const { job, records } of slices) {
      const rejected = records.map(({ sequence }) => ({ sequence: BigInt(sequence), ...sequenceUsed }));
      job.reject(rejected);
      this.#parts.faults.refused(job.batch.submission.deviceId, rejected);
    }
  }

  /**
   * Stores heartbeats in a new epoch, if the device leaves the epoch to the service; if it names one itself, it is told to
   * begin the next.
   */
  #countAnew(group: DeviceGroup, epoch: number, slices: readonly Slice[]): void {
    if (group.followsEpoch) {
      this.#work.push(slices.map((slice) => ({ ...slice, epoch: epoch + 1 })));
    } else {
      for (const { job } of slices) job.fail(counterLost(group.deviceId, epoch));
    }
  }

  /** Decides what a failure means for the slices that were tried; false if it is an outage. */
  async #recover(tried: readonly Slice[], thrown: unknown): Promise<boolean> {
    const slices = thrown instanceof PartialFailure ? thrown.slices : tried;
    const error = thrown instanceof PartialFailure ? new IngestFailure(thrown.cause, false) : thrown;
    const kind = kindOfFailure(error);
    if (error instanceof IngestFailure && error.maybeCommitted) this.#observeStored = true;
    if (kind === "bad_row") {
      this.#halve(slices, error);
      return true;
    }
    this.#work.push([...slices]);
    if (kind === "again" && this.#retries++ < maxRetries) return true;
    if (kind === "no_partition" && this.#retries++ < maxRetries && (await this.#makePartitions(slices)))
      return true;
    this.outage = error;
    return false;
  }

  /** Splits work in two around the row that the server refuses, or refuses the row if it is alone. */
  #halve(slices: readonly Slice[], error: unknown): void {
    const [first, second] = halves(slices);
    if (first !== undefined && second !== undefined) {
      this.#work.push(second, first);
      return;
    }
    for (const { job, records } of slices) for (const record of records) this.#refuseRow(job, record, error);
  }

  #refuseRow(job: FlushJob, { deviceId, sequence }: HeartbeatRecord, error: unknown): void {
    this.#parts.logger.warn({ err: error, deviceId, sequence }, "refused a heartbeat");
    const rejected = [{ sequence: BigInt(sequence), field: "", description: describeBadRow(error) }];
    this.#parts.faults.refused(deviceId, rejected);
    job.reject(rejected, sequence);
  }

  async #makePartitions(slices: readonly Slice[]): Promise<boolean> {
    const days = new Map<number, Date>();
    for (const { records } of slices) {
      for (const { receivedAt } of records) days.set(Math.floor(receivedAt.getTime() / dayMs), receivedAt);
    }
    try {
      for (const day of days.values()) await this.#parts.partitions.ensure(day);
      return true;
    } catch (error) {
      this.#parts.logger.error({ err: error }, "cannot make a partition for heartbeats");
      return false;
    }
  }
}

/** What of a device's rows lay at or below its mark. */
interface Repeats {
  readonly group: DeviceGroup;
  readonly verdict: StoredVerdict;
  /** How many, those included that came twice at once. */
  readonly duplicates: number;
  readonly records: readonly HeartbeatRecord[];
  /** The same by batch. */
  readonly slices: readonly Slice[];
  /** Whether later ones of the same batches are stored. */
  readonly isOvertaken: boolean;
}

type StoredVerdict = Extract<DeviceVerdict, { kind: "stored" }>;

/** What a transaction left over could not be decided; the rest of it is committed. */
class PartialFailure extends Error {
  readonly slices: readonly Slice[];

  constructor(slices: readonly Slice[], cause: unknown) {
    super("could not decide what a transaction left over", { cause });
    this.slices = slices;
  }
}

/** Deadlocks in a row, or partitions that vanish in a row: after these it counts as an outage, which waits longer. */
const maxRetries = 5;

const sequenceUsed = {
  field: "sequence",
  description: "was used under another boot id: count on above the durable sequence, or begin the next epoch",
};

const dayMs = 24 * 60 * 60 * 1_000;

function refusal(
  deviceId: string,
  verdict: Extract<DeviceVerdict, { kind: "stale_epoch" | "superseded" }>,
): Error {
  return verdict.kind === "stale_epoch" ? staleEpoch(deviceId, verdict.epoch) : superseded(deviceId);
}
