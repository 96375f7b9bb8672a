import type { DescEnum, DescField, MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type ErrorReportSchema,
  type Heartbeat,
  HeartbeatSchema,
  Severity as WireSeverity,
} from "../../../gen/ota/v1/heartbeat_pb.js";
import type { CheckForUpdateRequest } from "../../../gen/ota/v1/update_service_pb.js";
import { dateOf } from "../../call/request-date.ts";
import { compiled } from "../../infra/compiled.ts";
import { type DeviceError, type HeartbeatRecord, maxUptimeMs } from "./heartbeat-record.ts";
import { type CheckReadings, checkReadings, type Reading, type Readings, readings } from "./readings.ts";
import type { Severity } from "./severity.ts";

/**
 * Makes what turns a heartbeat of the wire into a record: the properties named here from its second argument, and the readings.
 * All records then have one shape. Values are not checked; a number that the contract does not know becomes a word of its
 * digits, which the rules refuse.
 */
export function recordMaker<Base extends object>(
  properties: Readonly<Record<keyof Base, true>>,
): (heartbeat: Heartbeat, base: Base) => Base & Readings {
  const base = Object.keys(properties).map((property) => `${property}: base.${property}`);
  const told = places.map(({ reading, group, field }) => {
    const holder = group === undefined ? "heartbeat." : `${group.localName}?.`;
    return `${reading.property}: ${fromWire(reading, `${holder}${field.localName}`)}`;
  });
  const groups = new Set(places.flatMap(({ group }) => group?.localName ?? []));
  return compiled(
    `(heartbeat, base) => {
      const { ${[...groups].join(", ")} } = heartbeat;
      return { ${[...base, ...told].join(", ")} };
    }`,
    { number, dateOf, text, word, words },
  );
}

/** What a device tells of itself when it asks for an update. */
export function checkReadingsOf(request: CheckForUpdateRequest): CheckReadings {
  return readCheck(request);
}

/** A record on the wire. */
export function heartbeatMessage(record: HeartbeatRecord): MessageInitShape<typeof HeartbeatSchema> {
  return {
    sequence: BigInt(record.sequence),
    ...(record.deviceTime === undefined ? {} : { deviceTime: timestampFromDate(record.deviceTime) }),
    firmwareVersion: record.firmwareVersion,
    bootId: record.bootId,
    uptime: durationFromMs(Math.min(record.uptimeMs, maxUptimeMs)),
    ...readingsMessage(record),
    errors: record.errors.map(errorMessage),
    metrics: record.metrics ?? {},
    components: record.components ?? {},
    securityCounter: BigInt(record.securityCounter),
    ...(record.imageSha256 === undefined ? {} : { imageSha256: new Uint8Array(record.imageSha256) }),
  };
}

/** An error of a record on the wire. */
export function errorMessage(error: DeviceError): MessageInitShape<typeof ErrorReportSchema> {
  const { context = {}, crashLogId = "", fingerprint = "", severity, ...rest } = error;
  return { ...rest, severity: WireSeverity[severity], context: { ...context }, crashLogId, fingerprint };
}

/** A severity from the wire; digits for one that the contract does not know. */
export function severityOf(wire: WireSeverity): Severity {
  return (WireSeverity[wire] ?? String(wire)) as Severity;
}

type HeartbeatInit = Exclude<MessageInitShape<typeof HeartbeatSchema>, Heartbeat>;

/** Where the contract's `Heartbeat` has a reading. */
interface Place {
  readonly reading: Reading;
  /** The field that holds the message that has it; undefined if the heartbeat itself does. */
  readonly group: DescField | undefined;
  readonly field: DescField;
}

const places: readonly Place[] = readings.map((reading) => {
  const [first = "", second] = reading.field.split(".");
  const outer = HeartbeatSchema.fields.find(({ name }) => name === first);
  if (second === undefined) return { reading, group: undefined, field: inContract(reading, outer) };
  const inner = outer?.message?.fields.find(({ name }) => name === second);
  return { reading, group: outer, field: inContract(reading, inner) };
});

function inContract({ field }: Reading, found: DescField | undefined): DescField {
  if (found === undefined) throw new Error(`the contract's Heartbeat has no ${field}`);
  return found;
}

/** The words of choices by their numbers, by property. */
const words: Readonly<Record<string, readonly (string | undefined)[]>> = Object.fromEntries(
  places.flatMap(({ reading, field }) =>
    field.enum === undefined ? [] : [[reading.property, wordsOf(field.enum)]],
  ),
);

function wordsOf({ values }: DescEnum): (string | undefined)[] {
  const byNumber: (string | undefined)[] = [];
  for (const { number: value, localName } of values) if (value > 0) byNumber[value] = localName;
  return byNumber;
}

/** How a reading is read from the wire, as source. */
function fromWire({ kind, property }: Reading, wire: string): string {
  switch (kind) {
    case "count":
      return `number(${wire})`;
    case "time":
      return `dateOf(${wire})`;
    case "text":
      return `text(${wire})`;
    case "choice":
      return `word(words.${property}, ${wire})`;
    default:
      return wire;
  }
}

function number(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** Empty text is none. */
function text(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function word(known: readonly (string | undefined)[], value: number | undefined): string | undefined {
  return value === undefined || value === 0 ? undefined : (known[value] ?? String(value));
}

const readCheck = compiled<(request: CheckForUpdateRequest) => CheckReadings>(
  `(request) => ({ ${checkReadings.map((reading) => `${reading.property}: ${fromWire(reading, `request.${reading.property}`)}`).join(", ")} })`,
  { number, text, word, words },
);

/** An absent reading and a zero are different on the wire: only what was told is set. */
function readingsMessage(told: Readings): Omit<HeartbeatInit, "$typeName" | "errors"> {
  const message: Record<string, unknown> = {};
  for (const { reading, group, field } of places) {
    const value = told[reading.property];
    if (value === undefined) continue;
    if (group === undefined) {
      message[field.localName] = toWire(reading, value);
    } else {
      const holder = (message[group.localName] ??= {}) as Record<string, unknown>;
      holder[field.localName] = toWire(reading, value);
    }
  }
  return message;
}

function toWire({ kind, property }: Reading, value: Readings[keyof Readings]): unknown {
  switch (kind) {
    case "count":
      return BigInt(value as number);
    case "time":
      return timestampFromDate(value as Date);
    case "choice":
      return Math.max(words[property]?.indexOf(value as string) ?? 0, 0);
    default:
      return value;
  }
}
