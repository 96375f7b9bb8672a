import { type HeartbeatRecord, maxUptimeMs } from "../device/state/heartbeat-record.ts";
import { type Reading, type Readings, readings } from "../device/state/readings.ts";
import type { FieldViolation } from "../errors.ts";
import { compiled } from "../infra/compiled.ts";
import { errorsViolation, keepableErrors } from "./error-rules.ts";
import {
  componentsViolation,
  keepableComponents,
  keepableMetrics,
  metricsViolation,
} from "./named-value-rules.ts";
import type { UnreadValue } from "./unread-values.ts";
import {
  choiceViolation,
  countViolation,
  deviceTimeViolation,
  maxFloat,
  rangeViolation,
  storableText,
  textViolation,
} from "./value-checks.ts";

/** Something that was left out of a heartbeat that is kept. */
export interface LeftOutReading extends FieldViolation {
  /** What the device sent, as text; cut if it is long, and empty where it is a text or too much to be shown. */
  readonly value: string;
}

/**
 * Finds what is wrong with that by which a heartbeat is known: its number, its version and its boot. Without these it proves
 * nothing and could not be told from others, so it is refused. `unread` is what could not even be read of it.
 */
export function identityViolation(
  record: HeartbeatRecord,
  unread?: readonly UnreadValue[],
): FieldViolation | undefined {
  return (
    unread?.find(({ field }) => identityFields.has(field)) ??
    sequenceViolation(record.sequence) ??
    textViolation("firmware_version", record.firmwareVersion, 128) ??
    textViolation("boot_id", record.bootId, 64)
  );
}

/** That by which a heartbeat is known. */
export const identityFields: ReadonlySet<string> = new Set(["sequence", "firmware_version", "boot_id"]);

/**
 * Finds the first of the other values of a heartbeat that the contract does not allow, or undefined if all are well, as nearly
 * always. Field names are those of the contract. The validator would take 7 us for the rules of one heartbeat, more than its
 * decoding, its queueing and its COPY together; a test holds these checks against the contract's.
 */
export function valueViolation(record: HeartbeatRecord, nowMs: number): FieldViolation | undefined {
  // One chain without allocations: it runs for every heartbeat of the fleet.
  return (
    deviceTimeViolation(record.deviceTime, nowMs, "device_time") ??
    uptimeViolation(record) ??
    readingViolation(record, nowMs) ??
    countViolation("security_counter", record.securityCounter) ??
    digestViolation(record.imageSha256) ??
    (record.errors.length === 0 ? undefined : errorsViolation(record.errors)) ??
    (record.metrics === undefined ? undefined : metricsViolation(record.metrics)) ??
    (record.components === undefined ? undefined : componentsViolation(record.components))
  );
}

/**
 * A heartbeat without what the contract does not allow, and what that was: a heartbeat is worth more than its worst reading. For
 * those in which {@link valueViolation} finds something, or of which something could not be read: `unread`.
 */
export function withoutBadValues<R extends HeartbeatRecord>(
  record: R,
  nowMs: number,
  unread: readonly UnreadValue[] = [],
): { readonly record: R; readonly leftOut: readonly LeftOutReading[] } {
  const leftOut: LeftOutReading[] = [];
  const add = ({ field, description }: FieldViolation, value: unknown): void => {
    if (leftOut.length < maxLeftOut) leftOut.push({ field, description, value: shownValue(value) });
  };
  for (const each of unread) add(each, each.value);
  // What could not be read is missing, which is no second fault.
  const note = (violation: FieldViolation, value?: unknown): void => {
    if (!unread.some(({ field }) => isWithin(violation.field, field))) add(violation, value);
  };
  const kept: { -readonly [P in keyof HeartbeatRecord]: HeartbeatRecord[P] } = { ...record };
  const clear = <P extends keyof HeartbeatRecord>(
    property: P,
    violation: FieldViolation | undefined,
    nothing: HeartbeatRecord[P],
    value: unknown = record[property],
  ): void => {
    if (violation === undefined) return;
    note(violation, value);
    kept[property] = nothing;
  };
  clear("deviceTime", deviceTimeViolation(record.deviceTime, nowMs, "device_time"), undefined);
  clear("uptimeMs", uptimeViolation(record), 0, record.uptimeMs / 1_000);
  for (const [property, check] of readingChecks) clear(property, check(record, nowMs), undefined);
  // Half a position is none.
  const isHalf =
    record.latitude !== kept.latitude ||
    record.longitude !== kept.longitude ||
    unread.some(({ field }) => coordinates.has(field));
  if (isHalf) for (const property of positionProperties) kept[property] = undefined;
  clear("securityCounter", countViolation("security_counter", record.securityCounter), 0);
  clear("imageSha256", digestViolation(record.imageSha256), undefined);
  kept.errors = keepableErrors(record.errors, note);
  kept.metrics =
    record.metrics && keepableMetrics(record.metrics, (violation, entry) => note(violation, entry?.[1]));
  kept.components =
    record.components &&
    keepableComponents(record.components, (violation, entry) => note(violation, entry?.[1]));
  return { record: kept as R, leftOut };
}

/** What is named of one heartbeat: it has fewer fields, but may have any number of bad metrics. */
const maxLeftOut = 16;

const positionProperties = readings
  .filter(({ field }) => field.startsWith("location."))
  .map(({ property }) => property);

const coordinates: ReadonlySet<string> = new Set(["location.latitude", "location.longitude"]);

/** Whether a field is another one, or a part of it. */
function isWithin(field: string, whole: string): boolean {
  return field === whole || field.startsWith(`${whole}.`);
}

function shownValue(value: unknown): string {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "" : value.toISOString();
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeof value === "string" ? storableText(value, maxShownCharacters) : "";
}

const maxShownCharacters = 64;

const digestBytes = 32;

/** The checks of all readings in one, in the order of their table. */
const readingViolation = compiled<ReadingCheck>(
  `(record, nowMs) => ${readings.map(checkOf).join(" ??\n  ")}`,
  checkScope(),
);

/** The checks of the readings one by one. */
const readingChecks = readings.map(
  (reading, row) =>
    [
      reading.property,
      compiled<ReadingCheck>(`(record, nowMs) => ${checkOf(reading, row)}`, checkScope()),
    ] as const,
);

type ReadingCheck = (record: Readings, nowMs: number) => FieldViolation | undefined;

function checkScope(): Readonly<Record<string, unknown>> {
  return { readings, rangeViolation, countViolation, textViolation, deviceTimeViolation, choiceViolation };
}

/** The check of a reading, as source. */
function checkOf(
  { kind, field, property, range = [-Infinity, Infinity], maxCharacters }: Reading,
  row: number,
): string {
  const value = `record.${property}`;
  switch (kind) {
    case "real":
    case "double":
    case "smallint": {
      const [least, most] = range.map((bound) => Math.min(maxFloat, Math.max(-maxFloat, bound)));
      return `rangeViolation("${field}", ${value}, ${least}, ${most})`;
    }
    case "count":
      return `(${value} === undefined ? undefined : countViolation("${field}", ${value}))`;
    case "text":
      return `(${value} === undefined ? undefined : textViolation("${field}", ${value}, ${maxCharacters}))`;
    case "time":
      return `deviceTimeViolation(${value}, nowMs, "${field}")`;
    case "choice":
      return `(${value} === undefined ? undefined : choiceViolation("${field}", ${value}, readings[${row}].values))`;
    case "flag":
      return "undefined";
  }
}

function sequenceViolation(sequence: number): FieldViolation | undefined {
  // Zero asks the service for a number.
  if (sequence >= 0 && sequence <= Number.MAX_SAFE_INTEGER) return undefined;
  return { field: "sequence", description: "must be at most 9007199254740991 (2^53 - 1)" };
}

function uptimeViolation({ uptimeMs }: HeartbeatRecord): FieldViolation | undefined {
  return rangeViolation("uptime", uptimeMs / 1_000, 0, maxUptimeMs / 1_000);
}

function digestViolation(digest: Uint8Array | undefined): FieldViolation | undefined {
  if (digest === undefined || digest.length === digestBytes) return undefined;
  return { field: "image_sha256", description: "must be 32 bytes, or empty" };
}
