import type { Comparison, FilterTime, TextPattern } from "../../filter/filter.ts";
import { versionKey } from "../../version/version-key.ts";
import type { FilterableDevice } from "../state/filterable-device.ts";
import { type HeldReadings, heldReader } from "../state/held-readings.ts";
import { type Presence, presenceOf } from "../state/presence.ts";
import type { HeldName, HeldProperty } from "../state/readings.ts";
import type { DeviceFilter, DeviceTest, FieldPath } from "./device-filter.ts";
import { type FieldName, faultKindOf, isSinglePrecision } from "./filter-fields.ts";
import { type ModelNames, plainModels } from "./model-names.ts";

/** Whether a device matches at a moment, in milliseconds since 1970. */
export type DevicePredicate = (device: FilterableDevice, nowMs: number) => boolean;

/**
 * Makes a predicate of a filter, for decisions in memory: nothing is parsed or allocated when it is asked, except the
 * sort key of a version that it has not seen before. `heartbeatIntervalMs` decides who is online among
 * devices with no interval of their own: see presenceOf. `models` are the names that hardware models have.
 */
export function compileFilterPredicate(
  filter: DeviceFilter,
  options: { readonly heartbeatIntervalMs: number; readonly models?: ModelNames | undefined },
): DevicePredicate {
  switch (filter.kind) {
    case "all":
      return () => true;
    case "and": {
      const operands = filter.operands.map((operand) => compileFilterPredicate(operand, options));
      return (device, nowMs) => operands.every((operand) => operand(device, nowMs));
    }
    case "or": {
      const operands = filter.operands.map((operand) => compileFilterPredicate(operand, options));
      return (device, nowMs) => operands.some((operand) => operand(device, nowMs));
    }
    case "not": {
      const operand = compileFilterPredicate(filter.operand, options);
      return (device, nowMs) => !operand(device, nowMs);
    }
    default:
      return testPredicate(filter, options.heartbeatIntervalMs, options.models ?? plainModels);
  }
}

function testPredicate(test: DeviceTest, intervalMs: number, models: ModelNames): DevicePredicate {
  switch (test.kind) {
    case "search": {
      const matches = textMatcher({ kind: "contains", text: test.text });
      return (device) => matches(device.serialNumber) || matches(device.displayName);
    }
    case "present":
      return presentPredicate(test.field);
    case "text": {
      const read = textReader(test.field);
      const matches = textMatcher(test.pattern);
      const { negated } = test;
      if (test.field.name === "hardware_model")
        return ({ hardwareModel }) => models.namesOf(hardwareModel).some(matches) !== negated;
      return (device) => {
        const text = read(device);
        return text !== undefined && matches(text) !== negated;
      };
    }
    case "item": {
      const matches = textMatcher(test.pattern);
      return test.field.name === "tags"
        ? (device) => device.tags.some(matches)
        : (device) => device.groups.some(matches);
    }
    case "id": {
      const { id, negated } = test;
      return (device) => (device.id === id) !== negated;
    }
    case "number":
      return numberPredicate(test.field.name, test.comparison, test.value);
    case "time":
      return timePredicate(test.field.name, test.comparison, test.value);
    case "version":
      return versionPredicate(test.field, test.comparison, test.key);
    case "presence":
      return presencePredicate(test.presence, test.negated, intervalMs);
    case "pin": {
      const { pin, negated } = test;
      return (device) => (device.updatePin === pin) !== negated;
    }
    case "standing": {
      const { standing, negated } = test;
      return (device) => (device.standing === standing) !== negated;
    }
    case "choice": {
      const read = choiceReader(test.field.name);
      const { value: wanted, negated } = test;
      return (device) => {
        const value = read(device);
        return value !== undefined && (value === wanted) !== negated;
      };
    }
    case "flag": {
      const read = readingReader(test.field.name);
      const { value } = test;
      return (device) => read(device) === value;
    }
  }
}

function presentPredicate({ name, key }: FieldPath): DevicePredicate {
  switch (name) {
    case "groups":
      return (device) => device.groups.length > 0;
    case "tags":
      return (device) => device.tags.length > 0;
    case "metadata":
      return (device) => hasEntry(device.metadata, key);
    case "components":
      return (device) => hasEntry(device.components, key);
    case "update_pin":
      return (device) => device.updatePin !== "none";
    case "presence":
    case "last_seen_time":
      return (device) => device.lastSeenAtMs !== undefined;
    case "id":
    case "standing":
    case "create_time":
      return () => true;
    case "serial_number":
    case "device_type":
    case "hardware_model":
    case "product":
    case "display_name":
    case "firmware_version": {
      const read = textReader({ name, key: undefined });
      return (device) => (read(device) ?? "") !== "";
    }
    case "security_counter":
      return () => true;
    case "clock_verdict":
      return (device) => device.clockVerdict !== undefined;
    case "clone_suspected_time":
    case "reading_left_out_time":
    case "heartbeat_refused_time":
    case "heartbeat_repeated_time": {
      const read = timeReader(name);
      return (device) => read(device) !== undefined;
    }
    default: {
      const read = readingReader(name);
      return (device) => (read(device) ?? "") !== "";
    }
  }
}

function hasEntry(entries: Readonly<Record<string, string>> | undefined, key: string | undefined): boolean {
  if (entries === undefined) return false;
  if (key !== undefined) return Object.hasOwn(entries, key);
  for (const name in entries) if (Object.hasOwn(entries, name)) return true;
  return false;
}

/** Reads a field that is a reading. */
function readingReader(name: FieldName): (device: FilterableDevice) => HeldReadings[HeldProperty] {
  return heldReader(name as HeldName);
}

function choiceReader(name: FieldName): (device: FilterableDevice) => HeldReadings[HeldProperty] {
  return name === "clock_verdict" ? (device) => device.clockVerdict : readingReader(name);
}

function timeReader(name: FieldName): NumberReader {
  const kind = faultKindOf(name);
  if (kind !== undefined) return ({ faultTimes }) => faultTimes[kind];
  if (name === "clone_suspected_time") return ({ cloneSuspectedAtMs }) => cloneSuspectedAtMs;
  return name === "create_time" ? (device) => device.createdAtMs : (device) => device.lastSeenAtMs;
}

function textReader({ name, key = "" }: FieldPath): (device: FilterableDevice) => string | undefined {
  switch (name) {
    case "serial_number":
      return (device) => device.serialNumber;
    case "device_type":
      return (device) => device.deviceType;
    case "hardware_model":
      return (device) => device.hardwareModel;
    case "product":
      return (device) => device.product;
    case "display_name":
      return (device) => device.displayName;
    case "metadata":
      return (device) => entry(device.metadata, key);
    case "components":
      return (device) => entry(device.components, key);
    case "firmware_version":
      return (device) => (device.firmwareVersion === "" ? undefined : device.firmwareVersion);
    default:
      return readingReader(name) as (device: FilterableDevice) => string | undefined;
  }
}

/** Names come from devices and operators: only what the map itself holds counts. */
function entry(entries: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return entries !== undefined && Object.hasOwn(entries, key) ? entries[key] : undefined;
}

function textMatcher({ kind, text }: TextPattern): (candidate: string) => boolean {
  switch (kind) {
    case "exact":
      return (candidate) => candidate === text;
    case "prefix":
      return (candidate) => candidate.startsWith(text);
    case "suffix":
      return (candidate) => candidate.endsWith(text);
    case "inside":
      return (candidate) => candidate.includes(text);
    case "contains": {
      const pattern = new RegExp(anyAsciiCase(text), "u");
      return (candidate) => pattern.test(candidate);
    }
  }
}

/** A pattern for the text with ASCII letters of either case; the flag `i` would also fold other letters. */
function anyAsciiCase(text: string): string {
  return Array.from(text, (character) =>
    /[A-Za-z]/.test(character)
      ? `[${character.toLowerCase()}${character.toUpperCase()}]`
      : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  ).join("");
}

type NumberReader = (device: FilterableDevice) => number | undefined;

function numberReader(name: FieldName): NumberReader {
  if (name === "security_counter") return (device) => device.securityCounter;
  const read = readingReader(name) as NumberReader;
  if (!isSinglePrecision(name)) return read;
  // As the database keeps it.
  return (device) => {
    const value = read(device);
    return value === undefined ? undefined : Math.fround(value);
  };
}

function numberPredicate(name: FieldName, comparison: Comparison, value: number): DevicePredicate {
  const read = numberReader(name);
  const wanted = isSinglePrecision(name) ? Math.fround(value) : value;
  const holds = comparisons[comparison];
  return (device) => {
    const known = read(device);
    return known !== undefined && holds(known, wanted);
  };
}

/** Over numbers or sort keys. */
const comparisons: Readonly<Record<Comparison, <T extends number | string>(a: T, b: T) => boolean>> = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

function timePredicate(name: FieldName, comparison: Comparison, value: FilterTime): DevicePredicate {
  const read = timeReader(name);
  const holds = comparisons[comparison];
  if ("sinceEpochMs" in value) {
    const { sinceEpochMs } = value;
    return (device) => {
      const ms = read(device);
      return ms !== undefined && holds(ms, sinceEpochMs);
    };
  }
  const { agoMs } = value;
  return (device, nowMs) => {
    const ms = read(device);
    return ms !== undefined && holds(ms, nowMs - agoMs);
  };
}

function versionPredicate(field: FieldPath, comparison: Comparison, key: string): DevicePredicate {
  const read = textReader(field);
  const keys = new VersionKeys();
  const holds = comparisons[comparison];
  return (device) => {
    const version = read(device);
    const known = version === undefined ? undefined : keys.keyOf(version);
    return known !== undefined && holds(known, key);
  };
}

/** The sort keys of versions that were seen before. A fleet runs few; starts afresh beyond {@link maxVersions}. */
class VersionKeys {
  readonly #keys = new Map<string, string | undefined>();

  keyOf(version: string): string | undefined {
    const known = this.#keys.get(version);
    if (known !== undefined || this.#keys.has(version)) return known;
    if (this.#keys.size >= maxVersions) this.#keys.clear();
    const key = versionKey(version);
    this.#keys.set(version, key);
    return key;
  }
}

const maxVersions = 1_000;

function presencePredicate(presence: Presence, negated: boolean, intervalMs: number): DevicePredicate {
  return (device, nowMs) =>
    (presenceOf(device.lastSeenAtMs, nowMs, device.expectedIntervalMs ?? intervalMs) === presence) !==
    negated;
}
