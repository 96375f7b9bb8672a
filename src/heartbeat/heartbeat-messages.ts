import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Capability, ClockQuality, type ErrorReport, type Heartbeat } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  type AckSchema,
  type DirectiveSchema,
  type Hello,
  type ReceivedHeartbeatSchema,
  type StreamHeartbeatsResponse,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import { dateOf } from "../call/request-date.ts";
import type { DeviceError, DurableHeartbeat, HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { ReadingProperty } from "../device/state/readings.ts";
import { heartbeatMessage, recordMaker, severityOf } from "../device/state/record-messages.ts";
import { invalidArgument } from "../errors.ts";
import type { Directive } from "./directive.ts";
import type { HeartbeatRejection } from "./heartbeat-queue.ts";
import { findViolation } from "./heartbeat-rules.ts";
import type { StreamHello } from "./stream-hello.ts";
import type { CheckedBatch, StreamOutput } from "./stream-session.ts";

/** What a batch of heartbeats inherits from the call that it came by. */
export interface BatchContext {
  readonly deviceId: string;
  readonly epoch: number;
  readonly receivedAt: Date;
  /** What the device said when it opened its stream; undefined for a single call. */
  readonly hello: StreamHello | undefined;
}

/**
 * Turns a batch into records and judges each by the rules. All but the last, and whatever the device had already
 * counted past when it opened its stream, is history: see {@link DurableHeartbeat.backlog}.
 */
export function checkedBatch(heartbeats: readonly Heartbeat[], context: BatchContext): CheckedBatch {
  const records: DurableHeartbeat[] = [];
  const rejected: HeartbeatRejection[] = [];
  const rules = { nowMs: context.receivedAt.getTime(), allowUnnumbered: context.hello === undefined };
  const newest = context.hello?.lastSequence ?? 0;
  let through = 0;
  for (let index = 0; index < heartbeats.length; index++) {
    const heartbeat = heartbeats[index] as Heartbeat;
    const sequence = Number(heartbeat.sequence);
    const isHistory = index < heartbeats.length - 1 || (sequence < newest && sequence > 0);
    const record = recordOf(heartbeat, sequence, isHistory, context);
    const violation = findViolation(record, rules);
    if (sequence > through && sequence <= Number.MAX_SAFE_INTEGER) through = sequence;
    if (violation === undefined) records.push(record);
    else rejected.push({ sequence: heartbeat.sequence, ...violation });
  }
  return { records, rejected, through };
}

/** The epoch that a device names: 0 if it names none. Throws INVALID_ARGUMENT for one that cannot be counted on. */
export function epochOf(epoch: number): number {
  if (epoch > maxEpoch) throw invalidArgument("epoch", `must be at most ${maxEpoch}`);
  return epoch;
}

/** A hello as the domain sees it. */
export function helloOf(hello: Hello, deviceId: string): StreamHello {
  return {
    deviceId,
    epoch: epochOf(hello.epoch),
    lastSequence: Number(hello.lastSequence),
    bootId: wellFormed(hello.bootId, "hello.boot_id"),
    agentVersion: wellFormed(hello.agentVersion, "hello.agent_version"),
    firmwareVersion: wellFormed(hello.firmwareVersion, "hello.firmware_version"),
    securityCounter: Number(hello.securityCounter),
    imageSha256: hello.imageSha256.length === 0 ? undefined : hello.imageSha256,
    capabilities: hello.capabilities.map((value) => Capability[value] ?? "UNSPECIFIED"),
    clockQuality: ClockQuality[hello.clockQuality] ?? "UNSPECIFIED",
  };
}

/** What a stream says, as its message. */
export function outputMessage(output: StreamOutput): StreamHeartbeatsResponse {
  if (output.kind === "ack") {
    return create(StreamHeartbeatsResponseSchema, { message: { case: "ack", value: ackMessage(output) } });
  }
  const value = directiveMessage(output.directive);
  return create(StreamHeartbeatsResponseSchema, { message: { case: "directive", value } });
}

/** What is durable and what was refused. */
export function ackMessage(ack: {
  readonly ackedThrough: number;
  readonly rejected: readonly HeartbeatRejection[];
}): MessageInitShape<typeof AckSchema> {
  return { ackedThrough: BigInt(ack.ackedThrough), rejected: [...ack.rejected] };
}

/** A directive on the wire. */
export function directiveMessage(directive: Directive): MessageInitShape<typeof DirectiveSchema> {
  const { id } = directive;
  switch (directive.kind) {
    case "update_available":
      return { id, action: { case: "updateAvailable", value: { rolloutId: directive.rolloutId } } };
    case "cancel_update":
      return {
        id,
        action: { case: "cancelUpdate", value: { updateId: directive.updateId, reason: directive.reason } },
      };
    case "slow_down":
      return {
        id,
        action: { case: "slowDown", value: { minInterval: durationFromMs(directive.minIntervalMs) } },
      };
    case "reconnect":
      return {
        id,
        action: {
          case: "reconnect",
          value: { after: durationFromMs(directive.afterMs), reason: directive.reason },
        },
      };
  }
}

/** A stored heartbeat on the wire. */
export function receivedHeartbeat(record: HeartbeatRecord): MessageInitShape<typeof ReceivedHeartbeatSchema> {
  return {
    heartbeat: heartbeatMessage(record),
    receiveTime: timestampFromDate(record.receivedAt),
    epoch: record.epoch,
  };
}

/** `INT4` holds an epoch in the database. */
const maxEpoch = 2_147_483_647;

function recordOf(
  heartbeat: Heartbeat,
  sequence: number,
  backlog: boolean,
  { deviceId, epoch, receivedAt, hello }: BatchContext,
): DurableHeartbeat {
  const { deviceTime, uptime } = heartbeat;
  return makeRecord(heartbeat, {
    deviceId,
    epoch,
    sequence,
    receivedAt,
    deviceTime: deviceTime === undefined ? undefined : dateOf(deviceTime),
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

function wellFormed(text: string, field: string): string {
  if (text.includes("\0") || !text.isWellFormed())
    throw invalidArgument(field, "must be well-formed text without NUL");
  return text;
}
