import { create, type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import {
  HeartbeatBatchSchema,
  type SendHeartbeatRequest,
  SendHeartbeatRequestSchema,
  type StreamHeartbeatsRequest,
  StreamHeartbeatsRequestSchema,
} from "../../gen/ota/v1/heartbeat_service_pb.js";

/**
 * Reads a stream's message that cannot be read as a whole, so that bytes that are no heartbeat, such as a text that is not UTF-8,
 * cost the one heartbeat that has them: it comes with nothing but its sequence, and {@link unreadableOf} tells of it. Undefined if
 * it is more than a heartbeat that is broken.
 */
export function salvagedStreamMessage(bytes: Uint8Array): StreamHeartbeatsRequest | undefined {
  const batches = valuesOf(bytes, StreamHeartbeatsRequestSchema.field.batch.number);
  const [batch] = batches?.values ?? [];
  const heartbeats = batch && valuesOf(batch, HeartbeatBatchSchema.field.heartbeats.number);
  if (heartbeats === undefined) return undefined;
  const value = create(HeartbeatBatchSchema);
  addHeartbeats(value.heartbeats, heartbeats.values);
  return create(StreamHeartbeatsRequestSchema, { message: { case: "batch", value } });
}

/** The same for a call. */
export function salvagedCall(bytes: Uint8Array): SendHeartbeatRequest | undefined {
  const found = valuesOf(bytes, SendHeartbeatRequestSchema.field.heartbeats.number);
  const request = found && readable(SendHeartbeatRequestSchema, found.rest);
  if (found === undefined || request === undefined) return undefined;
  addHeartbeats(request.heartbeats, found.values);
  return request;
}

/** What is wrong with those heartbeats of a salvaged message that could not be read, by their place; undefined for a message that was whole. */
export function unreadableOf(heartbeats: readonly Heartbeat[]): ReadonlyMap<number, string> | undefined {
  return unreadable.get(heartbeats);
}

/** The field that could not be read, by the place of its heartbeat. */
const unreadable = new WeakMap<readonly Heartbeat[], ReadonlyMap<number, string>>();

function addHeartbeats(heartbeats: Heartbeat[], values: readonly Uint8Array[]): void {
  const broken = new Map<number, string>();
  for (const [place, bytes] of values.entries()) {
    const whole = readable(HeartbeatSchema, bytes);
    if (whole !== undefined) {
      heartbeats.push(whole);
      continue;
    }
    const fields = intactFieldsOf(bytes);
    broken.set(place, brokenFieldOf(fields));
    heartbeats.push(create(HeartbeatSchema, { sequence: sequenceOf(fields) }));
  }
  unreadable.set(heartbeats, broken);
}

function readable<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch {
    return undefined;
  }
}

/** A field of a message as it lies. */
interface WireField {
  readonly number: number;
  /** With its tag. */
  readonly bytes: Uint8Array;
  /** What it holds, if it has a length. */
  readonly value: Uint8Array | undefined;
}

/** The fields of a message up to the first that is not even well framed, which ends it with an error. */
function* fieldsOf(bytes: Uint8Array): Generator<WireField, void> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wireType] = reader.tag();
    const value = wireType === WireType.LengthDelimited ? reader.bytes() : undefined;
    if (value === undefined) reader.skip(wireType, number);
    yield { number, bytes: bytes.subarray(start, reader.pos), value };
  }
}

/** The values of a repeated field, and the message without them; undefined if the message is not well framed. */
function valuesOf(
  bytes: Uint8Array,
  field: number,
): { readonly values: readonly Uint8Array[]; readonly rest: Uint8Array } | undefined {
  try {
    const fields = [...fieldsOf(bytes)];
    return {
      values: fields.flatMap(({ number, value }) => (number === field && value !== undefined ? [value] : [])),
      rest: Buffer.concat(fields.filter(({ number }) => number !== field).map((other) => other.bytes)),
    };
  } catch {
    return undefined;
  }
}

/** The sequence of a heartbeat that is broken elsewhere; 0 if that cannot be read either. */
function sequenceOf(fields: FieldsByNumber): bigint {
  const bytes = fields.get(HeartbeatSchema.field.sequence.number);
  return (bytes && readable(HeartbeatSchema, bytes)?.sequence) ?? 0n;
}

/** The contract's name of the first field that cannot be read; empty if the heartbeat is not well framed. */
function brokenFieldOf(fields: FieldsByNumber): string {
  for (const [number, bytes] of fields) {
    if (readable(HeartbeatSchema, bytes) === undefined)
      return HeartbeatSchema.fields.find((field) => field.number === number)?.name ?? "";
  }
  return "";
}

/** All that a message says of each field that its contract knows, in the order in which they first come. */
type FieldsByNumber = ReadonlyMap<number, Uint8Array>;

/**
 * What of a heartbeat is well framed. A field that comes time and again is put together, so that reading them one by one costs
 * no more than there are fields in the contract: a message has room for a million.
 */
function intactFieldsOf(bytes: Uint8Array): FieldsByNumber {
  const parts = new Map<number, Uint8Array[]>();
  try {
    for (const { number, bytes: field } of fieldsOf(bytes)) {
      const known = parts.get(number);
      if (known !== undefined) known.push(field);
      else if (heartbeatFields.has(number)) parts.set(number, [field]);
    }
  } catch {
    // What came before the break counts.
  }
  return new Map([...parts].map(([number, fields]) => [number, Buffer.concat(fields)]));
}

const heartbeatFields = new Set(HeartbeatSchema.fields.map(({ number }) => number));
