import { type DeviceError, type HeartbeatRecord, maxUptimeMs } from "../device/state/heartbeat-record.ts";
import { type Reading, type Readings, readings } from "../device/state/readings.ts";
import { severities } from "../device/state/severity.ts";
import type { FieldViolation } from "../errors.ts";
import { compiled } from "../infra/compiled.ts";

/** What the rules need to know beside the heartbeat itself. */
export interface HeartbeatRuleContext {
  /** The service's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Whether a heartbeat without a number is allowed: in single calls, where the service numbers it, not on streams. */
  readonly allowUnnumbered: boolean;
}

/**
 * Finds the first reading of a heartbeat that the contract does not allow, or undefined if all are well. A bad reading
 * only costs the device this one heartbeat, so it is judged here and refused in the ack, while the contract's rules for
 * whole messages end a call. The validator would take 7 us for the rules of one heartbeat, more than its decoding, its
 * queueing and its COPY together; a test holds these checks against the contract's. Field names are those of the contract.
 */
export function findViolation(
  record: HeartbeatRecord,
  context: HeartbeatRuleContext,
): FieldViolation | undefined {
  // One chain without allocations: it runs for every heartbeat of the fleet.
  return (
    sequenceViolation(record.sequence, context.allowUnnumbered) ??
    deviceTimeViolation(record.deviceTime, context.nowMs) ??
    textViolation("firmware_version", record.firmwareVersion, 128) ??
    textViolation("boot_id", record.bootId, 64) ??
    rangeViolation("uptime", record.uptimeMs / 1_000, 0, maxUptimeMs / 1_000) ??
    readingViolation(record, context.nowMs) ??
    countViolation("security_counter", record.securityCounter) ??
    digestViolation(record.imageSha256) ??
    (record.errors.length === 0 ? undefined : errorsViolation(record.errors)) ??
    (record.metrics === undefined ? undefined : metricsViolation(record.metrics)) ??
    (record.components === undefined ? undefined : componentsViolation(record.components))
  );
}

/** The most custom metrics of a heartbeat. */
const maxMetrics = 64;

const digestBytes = 32;

/** What a float of the contract can hold; beyond it a column of type real refuses the row. */
const maxFloat = 3.402_823e38;

/** The most error reports of a heartbeat. */
const maxErrors = 16;

/** Clocks that were never set say 1970 or the firmware's build year; neither is a time. */
const earliestDeviceTimeMs = Date.UTC(2000, 0, 1);
const maxClockAheadMs = 24 * 60 * 60 * 1_000;

/** The readings, in the order of their table. */
const readingViolation = compiled<(record: Readings, nowMs: number) => FieldViolation | undefined>(
  `(record, nowMs) => ${readings.map(checkOf).join(" ??\n  ")}`,
  { readings, rangeViolation, countViolation, textViolation, deviceTimeViolation, choiceViolation },
);

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

function choiceViolation(field: string, word: string, words: readonly string[]): FieldViolation | undefined {
  return words.includes(word) ? undefined : { field, description: `must be one of ${words.join(", ")}` };
}

function sequenceViolation(sequence: number, allowUnnumbered: boolean): FieldViolation | undefined {
  if (sequence > 0 && sequence <= Number.MAX_SAFE_INTEGER) return undefined;
  if (sequence === 0 && allowUnnumbered) return undefined;
  const description =
    sequence === 0
      ? "is required on a stream; it counts from 1"
      : "must be from 1 to 9007199254740991 (2^53 - 1)";
  return { field: "sequence", description };
}

function deviceTimeViolation(
  time: Date | undefined,
  nowMs: number,
  field = "device_time",
): FieldViolation | undefined {
  if (time === undefined) return undefined;
  const ms = time.getTime();
  if (ms >= earliestDeviceTimeMs && ms <= nowMs + maxClockAheadMs) return undefined;
  return { field, description: "must lie between 2000-01-01 and one day from now" };
}

function rangeViolation(
  field: string,
  value: number | undefined,
  least: number,
  most: number,
): FieldViolation | undefined {
  // Written so that NaN fails.
  if (value === undefined || (value >= least && value <= most)) return undefined;
  const description =
    most === maxFloat
      ? `must be a finite number${least === 0 ? " of 0 or more" : ""}`
      : `must be from ${least} to ${most}`;
  return { field, description };
}

function countViolation(field: string, value: number): FieldViolation | undefined {
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) return undefined;
  return { field, description: "must be 0 or more and below 2^53" };
}

function textViolation(field: string, text: string, maxCharacters: number): FieldViolation | undefined {
  // Code points are counted only where the cheap count of UTF-16 units does not settle it.
  if (text.length > maxCharacters && countCodePoints(text) > maxCharacters) {
    return { field, description: `must have at most ${maxCharacters} characters` };
  }
  // PostgreSQL text holds neither; a lone surrogate is no character in any encoding.
  if (text.includes("\0")) return { field, description: "must not contain the character NUL" };
  if (!text.isWellFormed()) return { field, description: "must be well-formed Unicode" };
  return undefined;
}

function countCodePoints(text: string): number {
  let count = 0;
  for (const _character of text) count++;
  return count;
}

function digestViolation(digest: Uint8Array | undefined): FieldViolation | undefined {
  if (digest === undefined || digest.length === digestBytes) return undefined;
  return { field: "image_sha256", description: "must be 32 bytes, or empty" };
}

function errorsViolation(errors: readonly DeviceError[]): FieldViolation | undefined {
  if (errors.length > maxErrors)
    return { field: "errors", description: `must have at most ${maxErrors} entries` };
  for (const [index, error] of errors.entries()) {
    const path = `errors[${index}]`;
    if (error.code === "") return { field: `${path}.code`, description: "is required" };
    const violation =
      choiceViolation(`${path}.severity`, error.severity, severities) ??
      textViolation(`${path}.code`, error.code, 64) ??
      textViolation(`${path}.message`, error.message, 2_000) ??
      textViolation(`${path}.stack`, error.stack, 16_000) ??
      textViolation(`${path}.fingerprint`, error.fingerprint ?? "", 128) ??
      (error.context === undefined ? undefined : contextViolation(`${path}.context`, error.context)) ??
      crashLogViolation(`${path}.crash_log_id`, error.crashLogId);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

function metricsViolation(metrics: Readonly<Record<string, number>>): FieldViolation | undefined {
  let count = 0;
  for (const name in metrics) {
    if (++count > maxMetrics)
      return { field: "metrics", description: `must have at most ${maxMetrics} entries` };
    if (!metricName.test(name)) {
      return {
        field: "metrics",
        description: "names must be 1 to 64 of a-z, A-Z, 0-9, dot, underscore, slash and dash",
      };
    }
    if (!Number.isFinite(metrics[name]))
      return { field: `metrics["${name}"]`, description: "must be a finite number" };
  }
  return undefined;
}

function contextViolation(
  field: string,
  context: Readonly<Record<string, string>>,
): FieldViolation | undefined {
  let count = 0;
  for (const [name, value] of Object.entries(context)) {
    if (++count > maxContextEntries)
      return { field, description: `must have at most ${maxContextEntries} entries` };
    if (name === "" || textViolation(field, name, 64) !== undefined)
      return { field, description: "names must be 1 to 64 characters of well-formed text without NUL" };
    const violation = textViolation(`${field}["${name}"]`, value, 256);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

function crashLogViolation(field: string, id: string | undefined): FieldViolation | undefined {
  if (id === undefined || uuid.test(id)) return undefined;
  return { field, description: "must be the id of an uploaded crash log (a UUID)" };
}

function componentsViolation(components: Readonly<Record<string, string>>): FieldViolation | undefined {
  let count = 0;
  for (const name in components) {
    if (++count > maxComponents)
      return { field: "components", description: `must have at most ${maxComponents} entries` };
    if (!componentName.test(name)) {
      return {
        field: "components",
        description: "names must be 1 to 64 of a-z, A-Z, 0-9, dot, underscore and dash",
      };
    }
    const version = components[name] ?? "";
    const field = `components["${name}"]`;
    if (version === "") return { field, description: "must not be empty" };
    const violation = textViolation(field, version, maxVersionCharacters);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

/** The most entries of an error's context. */
const maxContextEntries = 16;

/** The most applications of a heartbeat. */
const maxComponents = 16;

/** Of a version, as everywhere in the contract. */
const maxVersionCharacters = 128;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const componentName = /^[A-Za-z0-9._-]{1,64}$/;

const metricName = /^[A-Za-z0-9._/-]{1,64}$/;
