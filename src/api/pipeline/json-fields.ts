import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
} from "@bufbuild/protobuf";
import type { FieldViolation } from "../../errors.ts";
import { scalarFromJson } from "./json-scalars.ts";

/** JSON with what was wrong with it. */
export interface JsonFields {
  /** As the JSON mapping of protobuf has it, for `fromJson`. */
  readonly json: JsonValue;
  readonly violations: readonly FieldViolation[];
}

/** What becomes of names that the contract does not have. */
export type UnknownNames = "refused" | "passed over";

/**
 * Reads JSON by the fields of a message, and says of each value that is none of its field what it must be, by the names that the caller
 * wrote. Beside what ProtoJSON writes it takes enum values without their prefix (`DRAFT`), and field masks with names as the contract
 * writes them (`battery_percent`). A word that an enum does not have is refused: passed over, a filter would let everything through.
 */
export function jsonFields(type: DescMessage, json: JsonValue, unknownNames: UnknownNames): JsonFields {
  const reading = new JsonReading(unknownNames);
  return { json: reading.message(type, json, ""), violations: reading.violations };
}

/** What is wrong with one value, or item, of a field; undefined if nothing is. */
export function faultOfValue(field: DescField, value: JsonValue): string | undefined {
  const reading = new JsonReading("refused");
  reading.single(field, value, "");
  return reading.violations[0]?.description;
}

class JsonReading {
  readonly violations: FieldViolation[] = [];
  readonly #unknownNames: UnknownNames;

  constructor(unknownNames: UnknownNames) {
    this.#unknownNames = unknownNames;
  }

  message(type: DescMessage, json: JsonValue, path: string): JsonValue {
    if (type.typeName.startsWith("google.protobuf.")) return this.#wellKnown(type, json, path);
    if (!isObject(json)) return this.#refuse(path, "must be a JSON object");
    const read: JsonObject = {};
    const seen = new Set<DescField>();
    for (const [name, value] of Object.entries(json)) {
      const at = path === "" ? name : `${path}.${name}`;
      const field = fieldNamed(type, name);
      if (field === undefined) {
        if (this.#unknownNames === "refused")
          this.#refuse(at.slice(0, 100), "is not a field of this request");
      } else if (seen.has(field)) this.#refuse(at, "is given under both of its names");
      else {
        seen.add(field);
        if (value !== null) read[field.jsonName] = this.#field(field, value, at);
        else if (field.message?.typeName === "google.protobuf.Value") read[field.jsonName] = null;
      }
    }
    return read;
  }

  #field(field: DescField, value: JsonValue, path: string): JsonValue {
    switch (field.fieldKind) {
      case "list":
        if (!Array.isArray(value)) return this.#refuse(path, "must be a list");
        return value.map((item, index) => this.single(field, item, `${path}[${index}]`));
      case "map": {
        if (!isObject(value)) return this.#refuse(path, "must be a JSON object");
        const entries = Object.entries(value);
        return Object.fromEntries(
          entries.map(([key, entry]) => [key, this.single(field, entry, `${path}["${key}"]`)]),
        );
      }
      default:
        return this.single(field, value, path);
    }
  }

  single(field: DescField, value: JsonValue, path: string): JsonValue {
    if (field.message !== undefined) return this.message(field.message, value, path);
    if (value === null) return this.#refuse(path, "must not be null");
    if (field.enum !== undefined) return this.#enum(field.enum, value, path);
    const read = field.scalar === undefined ? { value } : scalarFromJson(field.scalar, value);
    return "fault" in read ? this.#refuse(path, read.fault) : read.value;
  }

  #enum(type: DescEnum, value: JsonValue, path: string): JsonValue {
    if (typeof value === "number" && Number.isInteger(value)) return value;
    const prefix = (type.sharedPrefix ?? "").toUpperCase();
    const found = type.values.find(
      ({ name }) => typeof value === "string" && (name === value || name === prefix + value),
    );
    if (found !== undefined) return found.name;
    return this.#refuse(path, `must be one of ${type.values.map(({ name }) => name).join(", ")}`);
  }

  #wellKnown(type: DescMessage, json: JsonValue, path: string): JsonValue {
    const mended =
      type.typeName === "google.protobuf.FieldMask" && typeof json === "string" ? camelCased(json) : json;
    try {
      fromJson(type, mended);
      return mended;
    } catch {
      return this.#refuse(path, wellKnownRules[type.typeName] ?? `must be a ${type.name}`);
    }
  }

  #refuse(field: string, description: string): null {
    this.violations.push({ field, description });
    return null;
  }
}

/** The field of this name, as the contract writes it or as JSON does. */
export function fieldNamed(type: DescMessage, name: string): DescField | undefined {
  return type.fields.find((field) => field.jsonName === name || field.name === name);
}

const wellKnownRules: Readonly<Record<string, string>> = {
  "google.protobuf.Timestamp": "must be a time of the years 1 to 9999, as RFC 3339 writes it",
  "google.protobuf.Duration": "must be a duration of at most 10,000 years, in seconds with an `s` behind",
  "google.protobuf.FieldMask": "must be a field mask: names of fields with commas between",
};

/** A field mask whose names are written as the contract does, as JSON writes it. */
function camelCased(mask: string): string {
  return mask.replaceAll(/_[a-z]/g, (begin) => begin.slice(1).toUpperCase());
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
