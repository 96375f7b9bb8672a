import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import type { ReceivedHeartbeatSchema } from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { HeartbeatField } from "./heartbeat-fields.ts";
import { receivedHeartbeat } from "./heartbeat-messages.ts";

/** A stored heartbeat on the wire with some of its fields only, and its sequence; with all for undefined. */
export function maskedHeartbeat(
  record: HeartbeatRecord,
  fields: readonly HeartbeatField[] | undefined,
): MessageInitShape<typeof ReceivedHeartbeatSchema> {
  const message = receivedHeartbeat(record);
  if (fields === undefined) return message;
  const wanted = new Set(["sequence", ...fields].map((field) => localNames.get(field)));
  const entries = Object.entries(message.heartbeat ?? {}).filter(([name]) => wanted.has(name));
  const heartbeat = create(HeartbeatSchema, Object.fromEntries(entries));
  return { receiveTime: message.receiveTime, epoch: message.epoch, heartbeat } as typeof message;
}

const localNames = new Map(HeartbeatSchema.fields.map(({ name, localName }) => [name, localName]));
