import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Capability, ClockQuality } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  type AckSchema,
  type DirectiveSchema,
  type Hello,
  type ReceivedHeartbeatSchema,
  type StreamHeartbeatsResponse,
  StreamHeartbeatsResponseSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { heartbeatMessage } from "../device/state/record-messages.ts";
import { invalidArgument } from "../errors.ts";
import type { Directive } from "./directive.ts";
import type { HeartbeatRejection } from "./heartbeat-queue.ts";
import type { NamedLeftOut } from "./left-out.ts";
import type { StreamHello } from "./stream-hello.ts";
import type { StreamOutput } from "./stream-session.ts";

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
    heartbeatIntervalMs:
      hello.heartbeatInterval === undefined ? undefined : durationMs(hello.heartbeatInterval),
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
  readonly leftOut: readonly NamedLeftOut[];
  readonly leftOutCount: number;
  readonly epoch: number;
}): MessageInitShape<typeof AckSchema> {
  const { ackedThrough, rejected, leftOut, leftOutCount, epoch } = ack;
  return {
    ackedThrough: BigInt(ackedThrough),
    rejected: [...rejected],
    leftOut: leftOut.map((reading) => ({ ...reading })),
    leftOutCount,
    epoch,
  };
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
    case "rotate_token":
      return { id, action: { case: "rotateToken", value: {} } };
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

function wellFormed(text: string, field: string): string {
  if (text.includes("\0") || !text.isWellFormed())
    throw invalidArgument(field, "must be well-formed text without NUL");
  return text;
}
