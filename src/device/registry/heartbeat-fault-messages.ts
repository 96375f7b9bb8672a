import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  ClockVerdict,
  type Device,
  type DeviceSchema,
  HeartbeatFaultKind as WireFaultKind,
} from "../../../gen/ota/v1/device_pb.js";
import type { HeartbeatFault, HeartbeatFaultKind } from "../state/heartbeat-fault-writer.ts";
import type { DeviceDetails } from "./device-details.ts";

type DeviceInit = Exclude<MessageInitShape<typeof DeviceSchema>, Device>;

/** What is wrong with a device's heartbeats, on the wire. */
export function heartbeatFaultsMessage(
  faults: readonly HeartbeatFault[],
): Pick<DeviceInit, "heartbeatFaults"> {
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
  };
}

/** What its newest heartbeat shows of a device's clock, on the wire. */
export function clockMessage(
  clock: DeviceDetails["clock"],
): Pick<DeviceInit, "clockVerdict" | "clockOffset"> {
  if (clock === undefined) return {};
  return { clockVerdict: ClockVerdict[clock.verdict], clockOffset: durationFromMs(clock.offsetMs) };
}

const wireKinds: Readonly<Record<HeartbeatFaultKind, WireFaultKind>> = {
  left_out: WireFaultKind.LEFT_OUT,
  refused: WireFaultKind.REFUSED,
  repeated: WireFaultKind.REPEATED,
};
