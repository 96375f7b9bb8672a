import {
  type DescField,
  type DescMessage,
  isFieldSet,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  type Duration,
  durationFromMs,
  durationMs,
  type Timestamp,
  timestampDate,
  timestampFromDate,
} from "@bufbuild/protobuf/wkt";
import {
  type MaintenanceWindow as MaintenanceWindowMessage,
  type MaintenanceWindowSchema,
  RingGateSchema,
  RolloutPolicySchema,
} from "../../gen/ota/v1/rollout_pb.js";
import {
  type Field,
  type Fields,
  type Filled,
  type Given,
  type MaintenanceWindow,
  mapFields,
} from "./field.ts";
import { gateFields } from "./gate-fields.ts";
import { policyFields } from "./policy-fields.ts";

/** A policy on the wire; what is undefined or null is left out. */
export function toPolicyMessage(
  policy: Sayable<typeof policyFields>,
): MessageInitShape<typeof RolloutPolicySchema> {
  return toMessage(RolloutPolicySchema, policyFields, policy);
}

/** What a message says of a policy: the fields that are set in it. */
export function fromPolicyMessage(
  policy: MessageShape<typeof RolloutPolicySchema> | undefined,
): Given<typeof policyFields> {
  return fromMessage(RolloutPolicySchema, policyFields, policy) as Given<typeof policyFields>;
}

/** A ring's gate on the wire; what is undefined is left out. */
export function toGateMessage(gate: Sayable<typeof gateFields>): MessageInitShape<typeof RingGateSchema> {
  return toMessage(RingGateSchema, gateFields, gate);
}

/** What a message says of a ring's gate: the fields that are set in it. */
export function fromGateMessage(
  gate: MessageShape<typeof RingGateSchema> | undefined,
): Given<typeof gateFields> {
  return fromMessage(RingGateSchema, gateFields, gate) as Given<typeof gateFields>;
}

/** The field of a gate that a check of the gate is about; undefined if this version does not know the rule. */
export function gateFieldOfRule(rule: string): Field | undefined {
  return Object.entries<Field>(gateFields).find(
    ([name, field]) => wireField(RingGateSchema, name, field).name === rule,
  )?.[1];
}

/** Maintenance windows on the wire. */
export function toWindowMessages(
  windows: readonly MaintenanceWindow[],
): MessageInitShape<typeof MaintenanceWindowSchema>[] {
  return windows.map(({ weekdays, start, durationMs: ms, timeZone }) => ({
    weekdays,
    start,
    duration: durationFromMs(ms),
    timeZone,
  }));
}

/** The field's description in the contract; throws if the contract does not have it. */
export function wireField(schema: DescMessage, name: string, { wire = name }: Field): DescField {
  const found = schema.field[wire];
  if (found === undefined) throw new Error(`${schema.typeName} has no field ${wire}`);
  return found;
}

/** What was asked for, or what is stored. */
type Sayable<F extends Fields> = Given<F> | Readonly<Filled<F>>;

function toMessage<Schema extends DescMessage>(
  schema: Schema,
  fields: Fields,
  values: Readonly<Record<string, unknown>>,
): MessageInitShape<Schema> {
  const said = Object.entries(fields).flatMap(([name, field]) => {
    const value = values[name];
    const onWire = wireField(schema, name, field);
    const sent = value === undefined || value === null ? undefined : toWire(field.kind, value, onWire);
    return sent === undefined ? [] : [[onWire.localName, sent]];
  });
  return Object.fromEntries(said) as MessageInitShape<Schema>;
}

function fromMessage<Schema extends DescMessage>(
  schema: Schema,
  fields: Fields,
  message: MessageShape<Schema> | undefined,
): Readonly<Record<string, unknown>> {
  return mapFields(fields, (name, field) => {
    const onWire = wireField(schema, name, field);
    if (message === undefined || !isFieldSet(message, onWire)) return undefined;
    return fromWire(field.kind, (message as Readonly<Record<string, unknown>>)[onWire.localName], onWire);
  });
}

function toWire(kind: Field["kind"], value: unknown, onWire: DescField): unknown {
  switch (kind) {
    case "duration":
      return durationFromMs(value as number);
    case "bytes":
      return BigInt(value as number);
    case "time":
      return timestampFromDate(writableTime(new Date(value as Date | string)));
    case "windows":
      return toWindowMessages(value as readonly MaintenanceWindow[]);
    case "choice":
      return onWire.enum?.values.find(({ localName }) => localName === value)?.number;
    default:
      return value;
  }
}

function fromWire(kind: Field["kind"], value: unknown, onWire: DescField): unknown {
  switch (kind) {
    case "duration":
      return durationMs(value as Duration);
    case "bytes":
      return Number(value as bigint);
    case "time":
      return timestampDate(wholeMilliseconds(value as Timestamp));
    case "windows":
      return (value as readonly MaintenanceWindowMessage[]).map(
        ({ weekdays, start, duration, timeZone }) => ({
          weekdays,
          start,
          durationMs: duration === undefined ? minWindowMs : durationMs(duration),
          timeZone,
        }),
      );
    case "choice":
      return onWire.enum?.value[value as number]?.localName;
    default:
      return value;
  }
}

/** Cut, for rounding makes a year 10000 of the last moment of 9999, which no encoding can write. */
function wholeMilliseconds(time: Timestamp): Timestamp {
  return { ...time, nanos: time.nanos - (time.nanos % 1_000_000) };
}

/** A release that rounded has stored such a year. */
function writableTime(time: Date): Date {
  return time > lastWritable ? lastWritable : time;
}

const lastWritable = new Date("9999-12-31T23:59:59.999Z");

/** The shortest window that the contract allows. */
const minWindowMs = 5 * 60_000;
