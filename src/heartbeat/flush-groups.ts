import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { HeartbeatRejection, QueuedBatch } from "./heartbeat-queue.ts";
import { type DeviceRows, inEpoch } from "./ingest-transaction.ts";

/** A batch and what became of it so far. */
export interface Job {
  readonly batch: QueuedBatch;
  /** How far the device's heartbeats are stored, as far as this batch's submitter is told. */
  mark: number;
  /** The epoch of `mark`. */
  epoch: number;
  readonly rejected: HeartbeatRejection[];
  error: unknown;
  settled: boolean;
}

/** Some rows of a batch. */
export interface Slice {
  readonly job: Job;
  /** The epoch that they are to be counted in, if it is not the one that the device told. */
  readonly epoch?: number;
  readonly records: readonly HeartbeatRecord[];
}

/** The rows of one device in a transaction. */
export interface DeviceGroup extends DeviceRows {
  records: readonly HeartbeatRecord[];
  unnumbered: readonly HeartbeatRecord[];
  readonly slices: Slice[];
  sent: number;
}

/** Puts rows together by device, each device's in order, with no sequence twice. All of a device are of one epoch and one stream. */
export function groupByDevice(slices: readonly Slice[]): DeviceGroup[] {
  const groups = new Map<string, DeviceGroup>();
  for (const slice of slices) {
    const { submission } = slice.job.batch;
    if (slice.job.settled || slice.job.error !== undefined) continue;
    // A call with nothing to store is told how far the device's heartbeats are stored.
    if (slice.records.length === 0 && submission.generation > 0) continue;
    const records = slice.epoch === undefined ? slice.records : inEpoch(slice.records, slice.epoch);
    const group = groups.get(submission.deviceId);
    if (group === undefined) {
      groups.set(submission.deviceId, {
        deviceId: submission.deviceId,
        epoch: slice.epoch ?? submission.epoch,
        followsEpoch: slice.epoch === undefined && submission.followsEpoch === true,
        generation: submission.generation,
        records,
        unnumbered: [],
        slices: [slice],
        sent: records.length,
      });
    } else {
      group.slices.push(slice);
      group.records = group.records.concat(records);
      group.sent += records.length;
    }
  }
  const list = [...groups.values()];
  for (const group of list) if (!isRising(group.records)) putInOrder(group);
  return list;
}

function isRising(records: readonly HeartbeatRecord[]): boolean {
  let before = 0;
  for (const { sequence } of records) {
    if (sequence <= before) return false;
    before = sequence;
  }
  return true;
}

/** A mark can only tell what is old if everything comes in order: what a device mixed up is sorted, and repeats go. */
function putInOrder(group: DeviceGroup): void {
  const bySequence = new Map<number, HeartbeatRecord>();
  for (const record of group.records) {
    if (record.sequence !== 0 && !bySequence.has(record.sequence)) bySequence.set(record.sequence, record);
  }
  group.unnumbered = group.records.filter(({ sequence }) => sequence === 0);
  group.records = [...bySequence.values()].toSorted((a, b) => a.sequence - b.sequence);
}
