import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { FlushJob } from "./flush-job.ts";
import { type DeviceRows, inEpoch } from "./ingest-transaction.ts";

/** Some rows of a batch. */
export interface Slice {
  readonly job: FlushJob;
  /** The epoch that they are to be counted in, if it is not the one that the device told. */
  readonly epoch?: number;
  /** Whether an earlier transaction of the flush stored later ones of the same batches. */
  readonly isOvertaken?: boolean;
  readonly records: readonly HeartbeatRecord[];
}

/** The rows of one device in a transaction. */
export interface DeviceGroup extends DeviceRows {
  records: readonly HeartbeatRecord[];
  unnumbered: readonly HeartbeatRecord[];
  readonly slices: Slice[];
  sent: number;
  /** Whether later ones are stored already: see {@link Slice.isOvertaken}. */
  isOvertaken: boolean;
}

/** Puts rows together by device, each device's in order, with no sequence twice. All of a device are of one epoch and one stream. */
export function groupByDevice(slices: readonly Slice[]): DeviceGroup[] {
  const groups = new Map<string, DeviceGroup>();
  for (const slice of slices) {
    if (slice.job.isOver) continue;
    const { submission } = slice.job.batch;
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
        isOvertaken: slice.isOvertaken === true,
      });
    } else {
      group.slices.push(slice);
      group.records = group.records.concat(records);
      group.sent += records.length;
      group.isOvertaken ||= slice.isOvertaken === true;
    }
  }
  const list = [...groups.values()];
  for (const group of list) if (!isRising(group.records)) putInOrder(group);
  return list;
}

/** The rows in two parts, in order; none if there are no two of them. */
export function halves(slices: readonly Slice[]): Slice[][] {
  if (slices.length > 1) {
    const middle = slices.length >> 1;
    return [slices.slice(0, middle), slices.slice(middle)];
  }
  const [slice] = slices;
  if (slice === undefined || slice.records.length < 2) return [];
  const middle = slice.records.length >> 1;
  return [
    [{ ...slice, records: slice.records.slice(0, middle) }],
    [{ ...slice, records: slice.records.slice(middle) }],
  ];
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
