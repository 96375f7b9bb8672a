import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type RolloutHealth,
  RolloutHealthSchema,
  HealthVerdict as WireVerdict,
} from "../../../gen/ota/v1/rollout_pb.js";
import type { HealthVerdict, JudgedHealth } from "./health-verdict.ts";

/** A rollout's health as it is sent. */
export function healthMessage(
  { verdict, signals, message }: JudgedHealth,
  alpha: number,
  devices: { readonly updated: number; readonly control: number },
  now: Date,
): RolloutHealth {
  return create(RolloutHealthSchema, {
    verdict: wireVerdict(verdict),
    message,
    alpha,
    updatedDeviceCount: BigInt(devices.updated),
    controlDeviceCount: BigInt(devices.control),
    evaluateTime: timestampFromDate(now),
    signals: signals.map((signal) => ({
      name: signal.name,
      verdict: wireVerdict(signal.verdict),
      unit: signal.unit,
      updatedValue: signal.updatedValue,
      controlValue: signal.controlValue,
      updatedDeviceHours: signal.updatedHours,
      controlDeviceHours: signal.controlHours,
      pValue: signal.pValue,
      message: signal.message,
    })),
  });
}

/** A verdict as it is sent. */
function wireVerdict(verdict: HealthVerdict | undefined): WireVerdict {
  return verdict === undefined ? WireVerdict.UNSPECIFIED : WireVerdict[verdict];
}
