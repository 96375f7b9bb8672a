import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  ClockVerdict,
  type Device,
  type HeartbeatFault,
  HeartbeatFaultKind,
} from "../../../gen/ota/v1/device_pb.js";
import { counted, duration } from "../ui/format.ts";

/** What is wrong with some heartbeats, in a line: `sends battery_percent 101`, `3 heartbeats refused: …`. */
export function faultText({ kind, field, value, description, count }: HeartbeatFault): string {
  switch (kind) {
    case HeartbeatFaultKind.LEFT_OUT:
      return `sends ${field} ${value === "" ? `that ${description}` : value}, ${counted(count, "time")}`;
    case HeartbeatFaultKind.REFUSED:
      return `${counted(count, "heartbeat")} refused: ${[field, description].filter((part) => part !== "").join(" ")}`;
    default:
      return `${counted(count, "heartbeat")} sent again that ${count === 1n ? "was" : "were"} stored before`;
  }
}

/** What is wrong with a device's clock; undefined if nothing is, or nobody knows. */
export function clockText({ clockVerdict, clockOffset }: Device): string | undefined {
  if (clockVerdict === ClockVerdict.UNSET) return "clock was never set";
  if (clockVerdict !== ClockVerdict.OFF || clockOffset === undefined) return undefined;
  const isBehind = clockOffset.seconds < 0n;
  return `clock is ${duration(sizeOf(clockOffset))} ${isBehind ? "behind" : "ahead"}`;
}

function sizeOf({ seconds }: Duration): number {
  return Math.abs(Number(seconds));
}
