import type { Duration } from "@bufbuild/protobuf/wkt";
import type { ErrorReport, Heartbeat } from "../../gen/ota/v1/heartbeat_pb.js";
import { dateOf } from "../call/request-date.ts";
import type { DeviceError, DurableHeartbeat } from "../device/state/heartbeat-record.ts";
import type { ReadingProperty } from "../device/state/readings.ts";
import { recordMaker, severityOf } from "../device/state/record-messages.ts";
import type { HeartbeatRejection } from "./heartbeat-queue.ts";
import { identityViolation, valueViolation, withoutBadValues } from "./heartbeat-rules.ts";
import { LeftOut } from "./left-out.ts";
import type { StreamHello } from "./stream-hello.ts";
import type { CheckedBatch } from "./stream-session.ts";
import { unreadOf } from "./unread-values.ts";

/** What a batch of heartbeats inherits from the call that it came by. */
export interface BatchContext {
  readonly deviceId: string;
  readonly epoch: number;
  readonly receivedAt: Date;
  /** What the device said when it opened its stream; undefined for a single call. */
  readonly hello: StreamHello | undefined;
}

/**
 * Turns a batch into records and judges each by the rules: what cannot be known is refused, what is wrong with the others is
 * left out of them. All but the last, and whatever the device had already
 * counted past when it opened its stream, is history: see {@link DurableHeartbeat.backlog}.
 */
export function checkedBatch(heartbeats: readonly Heartbeat[], context: BatchContext): CheckedBatch {
  const records: DurableHeartbeat[] = [];
  const rejected: HeartbeatRejection[] = [];
  const leftOut = new LeftOut();
  const nowMs = context.receivedAt.getTime();
  const newest = context.hello?.lastSequence ?? 0;
  const unreadByPlace = unreadOf(heartbeats);
  let through = 0;
  for (let index = 0; index < heartbeats.length; index++) {
    const heartbeat = heartbeats[index] as Heartbeat;
    const sequence = Number(heartbeat.sequence);
    const isHistory = index < heartbeats.length - 1 || (sequence < newest && sequence > 0);
    const record = recordOf(heartbeat, sequence, isHistory, context);
    if (sequence > through && sequence <= Number.MAX_SAFE_INTEGER) through = sequence;
    const unread = unreadByPlace?.get(index);
    const violation = unread?.refusal ?? identityViolation(record, unread?.values);
    if (violation !== undefined) {
      const { field, description } = violation;
      rejected.push({ sequence: heartbeat.sequence, field, description });
    } else if (unread === undefined && valueViolation(record, nowMs) === undefined) {
      records.push(record);
    } else {
      const tolerated = withoutBadValues(record, nowMs, unread?.values);
      records.push(tolerated.record);
      leftOut.add(heartbeat.sequence, tolerated.leftOut);
    }
  }
  return { records, rejected, leftOut, through };
}

function recordOf(
  heartbeat: Heartbeat,
  sequence: number,
  backlog: boolean,
  { deviceId, epoch, receivedAt, hello }: BatchContext,
): DurableHeartbeat {
  const { uptime } = heartbeat;
  const deviceTime = heartbeat.deviceTime && dateOf(heartbeat.deviceTime);
  return makeRecord(heartbeat, {
    deviceId,
    epoch,
    sequence,
    receivedAt,
    deviceTime,
    clockOffsetMs: backlog ? undefined : clockOffset(deviceTime, receivedAt),
    // A device need not repeat on each heartbeat what it said when it opened the stream.
    firmwareVersion: heartbeat.firmwareVersion || (hello?.firmwareVersion ?? ""),
    bootId: heartbeat.bootId || (hello?.bootId ?? ""),
    uptimeMs: uptime === undefined ? 0 : millisecondsOf(uptime),
    securityCounter: Number(heartbeat.securityCounter) || (hello?.securityCounter ?? 0),
    imageSha256: heartbeat.imageSha256.length === 0 ? hello?.imageSha256 : heartbeat.imageSha256,
    errors: heartbeat.errors.length === 0 ? noErrors : heartbeat.errors.map(errorOf),
    metrics: isEmpty(heartbeat.metrics) ? undefined : heartbeat.metrics,
    components: isEmpty(heartbeat.components) ? undefined : heartbeat.components,
    backlog,
  });
}

const makeRecord = recordMaker<Omit<DurableHeartbeat, ReadingProperty>>({
  deviceId: true,
  epoch: true,
  sequence: true,
  receivedAt: true,
  deviceTime: true,
  clockOffsetMs: true,
  firmwareVersion: true,
  bootId: true,
  uptimeMs: true,
  securityCounter: true,
  imageSha256: true,
  errors: true,
  metrics: true,
  components: true,
  backlog: true,
});

function clockOffset(deviceTime: Date | undefined, receivedAt: Date): number | undefined {
  if (deviceTime === undefined) return undefined;
  const offsetMs = deviceTime.getTime() - receivedAt.getTime();
  // A time that no clock of ours can tell.
  return Number.isNaN(offsetMs) ? undefined : offsetMs;
}

const noErrors: readonly DeviceError[] = [];

function errorOf({
  code,
  severity,
  message,
  stack,
  fatal,
  context,
  crashLogId,
  fingerprint,
}: ErrorReport): DeviceError {
  // Without the message's own properties and what is empty, which have no place in the database.
  return {
    code,
    severity: severityOf(severity),
    message,
    stack,
    fatal,
    ...(isEmpty(context) ? undefined : { context }),
    ...(crashLogId === "" ? undefined : { crashLogId }),
    ...(fingerprint === "" ? undefined : { fingerprint }),
  };
}

function isEmpty(map: object): boolean {
  for (const _name in map) return false;
  return true;
}

function millisecondsOf({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1_000 + Math.floor(nanos / nanosPerMs);
}

const nanosPerMs = 1_000_000;
