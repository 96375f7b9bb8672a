import { create, type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { maxSalvagedValues, type Unread } from "./unread-values.ts";

/** A message read from bytes; undefined if they are none. */
export function readable<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch {
    return undefined;
  }
}

/**
 * The values of a repeated field, and the message without them; undefined if the message is not well framed, or has more than
 * `most` of them.
 */
export function valuesOf(
  bytes: Uint8Array,
  field: number,
  most: number,
): { readonly values: readonly Uint8Array[]; readonly rest: Uint8Array } | undefined {
  const values: Uint8Array[] = [];
  const rest: Uint8Array[] = [];
  try {
    for (const found of fieldsOf(bytes)) {
      if (found.number === field && found.value !== undefined) values.push(found.value);
      else rest.push(found.bytes);
      if (values.length > most || rest.length > maxSalvagedValues) return undefined;
    }
  } catch {
    return undefined;
  }
  return { values, rest: Buffer.concat(rest) };
}

/** What there is of a heartbeat whose bytes are none: its sequence, if that can be read, and the first field that cannot. */
export function brokenHeartbeat(bytes: Uint8Array): {
  readonly heartbeat: Heartbeat;
  readonly unread: Unread;
} {
  const fields = intactFieldsOf(bytes);
  const description = "cannot be read: every text must be UTF-8, and every field of its type";
  return {
    heartbeat: create(HeartbeatSchema, { sequence: sequenceOf(fields) }),
    unread: { refusal: { field: brokenFieldOf(fields), description }, values: [] },
  };
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
 * What of a heartbeat is well framed, up to {@link maxSalvagedValues}. A field that comes time and again is put together, so that
 * reading them one by one costs no more than there are fields in the contract.
 */
function intactFieldsOf(bytes: Uint8Array): FieldsByNumber {
  const parts = new Map<number, Uint8Array[]>();
  let count = 0;
  try {
    for (const { number, bytes: field } of fieldsOf(bytes)) {
      if (++count > maxSalvagedValues) break;
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
