import { setImmediate as nextTurn } from "node:timers/promises";
import { create, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { type Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  HeartbeatBatchSchema,
  type SendHeartbeatRequest,
  SendHeartbeatRequestSchema,
  type StreamHeartbeatsRequest,
  StreamHeartbeatsRequestSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";
import type { JsonReading, Salvage } from "../api/pipeline/endpoint.ts";
import { maxBatchSize } from "./batch-size.ts";
import { isJsonObject, JsonHeartbeats } from "./json-heartbeat-messages.ts";
import { rememberUnread, type Unread } from "./unread-values.ts";
import { brokenHeartbeat, readable, valuesOf } from "./wire-field-messages.ts";

/**
 * Read heartbeats one by one where their message cannot be read as a whole, so that what is no heartbeat costs the one that has
 * it, or only the value: {@link unreadOf} tells of it. They return undefined, or throw, if it is more than heartbeats that is broken.
 */
export const streamSalvage: Salvage<StreamHeartbeatsRequest> = {
  async fromBinary(bytes) {
    const batches = valuesOf(bytes, StreamHeartbeatsRequestSchema.field.batch.number, maxBatchSize);
    if (batches === undefined || batches.values.length === 0) return undefined;
    // Messages that come twice are one, as if they had been written one behind the other.
    const batch = Buffer.concat(batches.values);
    const heartbeats = valuesOf(batch, HeartbeatBatchSchema.field.heartbeats.number, maxBatchSize);
    if (heartbeats === undefined) return undefined;
    const value = create(HeartbeatBatchSchema);
    await addFromBinary(value.heartbeats, heartbeats.values);
    return create(StreamHeartbeatsRequestSchema, { message: { case: "batch", value } });
  },
  async fromJson(json, reading) {
    if (!isJsonObject(json) || !isJsonObject(json["batch"])) return undefined;
    const { heartbeats, ...rest } = json["batch"];
    if (!Array.isArray(heartbeats)) return undefined;
    const request = fromJson(StreamHeartbeatsRequestSchema, { ...json, batch: rest }, reading);
    if (request.message.case !== "batch") return undefined;
    await addFromJson(request.message.value.heartbeats, heartbeats, reading);
    return request;
  },
};

/** The same for a call. */
export const callSalvage: Salvage<SendHeartbeatRequest> = {
  async fromBinary(bytes) {
    const found = valuesOf(bytes, SendHeartbeatRequestSchema.field.heartbeats.number, maxBatchSize);
    const request = found && readable(SendHeartbeatRequestSchema, found.rest);
    if (found === undefined || request === undefined) return undefined;
    await addFromBinary(request.heartbeats, found.values);
    return request;
  },
  async fromJson(json, reading) {
    if (!isJsonObject(json)) return undefined;
    const { heartbeats, ...rest }: JsonObject = json;
    if (!Array.isArray(heartbeats)) return undefined;
    const request = fromJson(SendHeartbeatRequestSchema, rest, reading);
    await addFromJson(request.heartbeats, heartbeats, reading);
    return request;
  },
};

function addFromBinary(heartbeats: Heartbeat[], values: readonly Uint8Array[]): Promise<void> {
  return addEach(heartbeats, values, (bytes) => {
    const heartbeat = readable(HeartbeatSchema, bytes);
    return heartbeat === undefined ? brokenHeartbeat(bytes) : { heartbeat };
  });
}

function addFromJson(
  heartbeats: Heartbeat[],
  values: readonly JsonValue[],
  reading: JsonReading,
): Promise<void> {
  // One more than there may be is enough for the contract's rule to refuse the message.
  const bounded = values.slice(0, maxBatchSize + 1);
  const reader = new JsonHeartbeats(reading);
  return addEach(heartbeats, bounded, (json) => reader.read(json));
}

/** Reads heartbeats, and lets others have their turn after each that is broken: a message may be nothing but that. */
async function addEach<Value>(
  heartbeats: Heartbeat[],
  values: readonly Value[],
  read: (value: Value) => { readonly heartbeat: Heartbeat; readonly unread?: Unread },
): Promise<void> {
  const unreadByPlace = new Map<number, Unread>();
  for (const [place, value] of values.entries()) {
    const { heartbeat, unread } = read(value);
    heartbeats.push(heartbeat);
    if (unread === undefined) continue;
    unreadByPlace.set(place, unread);
    await nextTurn();
  }
  rememberUnread(heartbeats, unreadByPlace);
}
