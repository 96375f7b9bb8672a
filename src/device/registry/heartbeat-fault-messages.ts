import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  ClockVerdict,
  type Device,
  type DeviceSchema,
  HeartbeatFaultKind as WireFaultKind,
} from "../../../gen/ota/v1/device_pb.js";
import type { HeartbeatFault, HeartbeatFaultKind } from "../state/heartbeat-fault-writer.ts";
import type { HeartbeatRecord } from "../state/heartbeat-record.ts";

type DeviceInit = Pick<
  Exclude<MessageInitShape<typeof DeviceSchema>, Device>,
  "heartbeatFaults" | "clockVerdict" | "clockOffset"
>;

/** What is wrong with a device's heartbeats, and what its newest one shows of its clock, on the wire. */
export function heartbeatFaultsMessage(
  faults: readonly HeartbeatFault[],
  last: HeartbeatRecord | undefined,
): DeviceInit {
  return {
    heartbeatFaults: faults.map(({ kind, count, sequence, field, value, description, noticedAt }) => ({
      kind: wireKinds[kind],
      field,
      value,
      description,
      count: BigInt(count),
      sequence,
      newestTime: timestampFromDate(noticedAt),
    })),
    ...clockMessage(faults, last),
  };
}

const wireKinds: Readonly<Record<HeartbeatFaultKind, WireFaultKind>> = {
  left_out: WireFaultKind.LEFT_OUT,
  refused: WireFaultKind.REFUSED,
  repeated: WireFaultKind.REPEATED,
};

function clockMessage(faults: readonly HeartbeatFault[], last: HeartbeatRecord | undefined): DeviceInit {
  const told = last === undefined ? undefined : toldTime(faults, last);
  if (told === undefined) return {};
  const offsetMs = told.timeMs - told.receivedMs;
  return { clockVerdict: verdictOf(told.timeMs, offsetMs), clockOffset: durationFromMs(offsetMs) };
}

/** A time that nothing can mean is left out of the heartbeat, but says the more of the clock. */
function toldTime(
  faults: readonly HeartbeatFault[],
  { deviceTime, receivedAt }: HeartbeatRecord,
): { readonly timeMs: number; readonly receivedMs: number } | undefined {
  if (deviceTime !== undefined) return { timeMs: deviceTime.getTime(), receivedMs: receivedAt.getTime() };
  const left = faults.find(({ kind, field }) => kind === "left_out" && field === "device_time");
  if (left === undefined || left.noticedAt < receivedAt) return undefined;
  const timeMs = Date.parse(left.value);
  return Number.isNaN(timeMs) ? undefined : { timeMs, receivedMs: left.noticedAt.getTime() };
}

function verdictOf(timeMs: number, offsetMs: number): ClockVerdict {
  if (timeMs < earliestSetMs) return ClockVerdict.UNSET;
  return Math.abs(offsetMs) <= maxErrorMs ? ClockVerdict.RIGHT : ClockVerdict.OFF;
}

const earliestSetMs = Date.UTC(2000, 0, 1);

const maxErrorMs = 60_000;
