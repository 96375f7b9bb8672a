import {
  create,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { type Heartbeat, HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import type { JsonReading } from "../api/pipeline/endpoint.ts";
import { identityFields } from "./heartbeat-rules.ts";
import { maxSalvagedValues, type Unread, type UnreadValue } from "./unread-values.ts";
import { storableText } from "./value-checks.ts";

/** Reads the heartbeats of one message from JSON; the message may be nothing but what cannot be read. */
export class JsonHeartbeats {
  readonly #reading: JsonReading;
  /** How many values could not be read so far. */
  #unread = 0;

  constructor(reading: JsonReading) {
    this.#reading = reading;
  }

  /** A heartbeat as far as it can be read: a value that its field cannot hold is left out of it and told of. */
  read(json: JsonValue): { readonly heartbeat: Heartbeat; readonly unread?: Unread } {
    try {
      return { heartbeat: fromJson(HeartbeatSchema, json) };
    } catch {
      return isJsonObject(json) ? this.#salvaged(json) : notAnObject();
    }
  }

  #salvaged(json: JsonObject): { heartbeat: Heartbeat; unread: Unread } {
    const reader = new ReadableJson(this.#reading, maxUnreadValues - this.#unread);
    const kept = reader.message(HeartbeatSchema, json, "");
    this.#unread += reader.unread.length;
    return reader.isExhausted ? this.#identified(json) : salvaged(kept, reader.unread);
  }

  /** A heartbeat of which there is too much that cannot be read keeps that by which it is known. */
  #identified(json: JsonObject): { heartbeat: Heartbeat; unread: Unread } {
    const known = Object.entries(json).filter(([name]) =>
      identityFields.has(fieldNamed(HeartbeatSchema, name)?.name ?? ""),
    );
    const reader = new ReadableJson(this.#reading, known.length);
    const kept = reader.message(HeartbeatSchema, Object.fromEntries(known), "");
    const rest = {
      field: "heartbeat",
      description: "has too many values that cannot be read",
      value: undefined,
    };
    return salvaged(kept, [...reader.unread, rest]);
  }
}

/** Whether a value of JSON is an object. */
export function isJsonObject(json: JsonValue | undefined): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

/** Each costs some 40 us, in which the library makes its error: those of a message cost 0.1 s. */
const maxUnreadValues = 2_500;

function salvaged(kept: JsonObject, values: readonly UnreadValue[]) {
  return { heartbeat: fromJson(HeartbeatSchema, kept), unread: { values } };
}

function notAnObject() {
  const refusal = { field: "", description: "a heartbeat must be an object" };
  return { heartbeat: create(HeartbeatSchema), unread: { refusal, values: [] } };
}

function fieldNamed(schema: DescMessage, name: string): DescField | undefined {
  return schema.fields.find((field) => field.jsonName === name || field.name === name);
}

/** Goes through the JSON of a message by its descriptor: what a field can hold is kept, all else is noted. */
class ReadableJson {
  readonly unread: UnreadValue[] = [];
  readonly #reading: JsonReading;
  readonly #maxUnread: number;
  #looks = 0;

  constructor(reading: JsonReading, maxUnread: number) {
    this.#reading = reading;
    this.#maxUnread = maxUnread;
  }

  /** Whether there was more than may be looked at. */
  get isExhausted(): boolean {
    return this.#looks > maxSalvagedValues || this.unread.length > this.#maxUnread;
  }

  /** `path` is empty, or names the message and ends with a dot. */
  message(schema: DescMessage, json: JsonObject, path: string): JsonObject {
    const seen = new Set<DescField>();
    return this.#kept(json, (name, value) => {
      const field = fieldNamed(schema, name);
      if (field === undefined) return this.#unknown(entryPath(path.slice(0, -1) || "heartbeat", name), value);
      const fieldPath = path + field.name;
      if (seen.has(field))
        return this.#leftOut(fieldPath, value, "must be given once, not under both its names");
      seen.add(field);
      return value === null ? undefined : this.#field(field, value, fieldPath);
    });
  }

  #field(field: DescField, json: JsonValue, path: string): JsonValue | undefined {
    switch (field.fieldKind) {
      case "message":
        return isWrittenAsText(field.message)
          ? this.#value(field, json, path)
          : this.#submessage(field.message, json, path);
      case "list": {
        if (!Array.isArray(json)) return this.#leftOut(path, json, "must be a list");
        const { message } = field;
        if (message === undefined) return this.#value(field, json, path);
        return Object.values(
          this.#kept(json, (index, item) => this.#submessage(message, item, `${path}[${index}]`)),
        );
      }
      case "map":
        if (!isJsonObject(json)) return this.#leftOut(path, json, "must be an object");
        return this.#kept(json, (name, value) => {
          const holds = (entry: JsonValue) => canHold(field, { [name]: entry });
          return this.#value(field, value, entryPath(path, name), holds);
        });
      default:
        return this.#value(field, json, path);
    }
  }

  #submessage(schema: DescMessage, json: JsonValue, path: string): JsonObject | undefined {
    if (isJsonObject(json)) return this.message(schema, json, `${path}.`);
    return this.#leftOut(path, json, "must be an object");
  }

  #value(
    field: DescField,
    json: JsonValue,
    path: string,
    holds = (value: JsonValue) => canHold(field, value),
  ): JsonValue | undefined {
    if (holds(json)) return json;
    const isText = typeof json === "string" && field.scalar === ScalarType.STRING;
    this.#leftOut(path, json, isText ? "must be well-formed Unicode" : expectation(field));
    // What becomes of a text that is not well formed, the rules say: to them it is one with NUL.
    const marked = isText ? json.replaceAll(loneSurrogates, "\0") : undefined;
    return marked !== undefined && holds(marked) ? marked : undefined;
  }

  #unknown(path: string, json: JsonValue): undefined {
    return this.#reading.ignoreUnknownFields ? undefined : this.#leftOut(path, json, "is not known");
  }

  #leftOut(field: string, value: JsonValue, description: string): undefined {
    this.unread.push({ field, description, value });
  }

  /** Those entries of an object, or items of a list, of which something is kept. */
  #kept(
    json: JsonObject | readonly JsonValue[],
    keep: (name: string, value: JsonValue) => JsonValue | undefined,
  ): JsonObject {
    const entries: [string, JsonValue][] = [];
    for (const [name, value] of Object.entries(json)) {
      this.#looks++;
      if (this.isExhausted) break;
      const kept = keep(name, value);
      if (kept !== undefined) entries.push([name, kept]);
    }
    return Object.fromEntries(entries);
  }
}

/** Halves of characters without the other half. */
const loneSurrogates = /\p{Surrogate}/gu;

function canHold(field: DescField, json: JsonValue): boolean {
  try {
    fromJson(field.parent, { [field.name]: json });
    return true;
  } catch {
    return false;
  }
}

/** The place of a value that stands under a name of the device's own. */
function entryPath(path: string, name: string): string {
  return `${path}["${storableText(name, maxShownName)}"]`;
}

const maxShownName = 64;

/** Messages that the JSON mapping of protobuf writes as one text. */
function isWrittenAsText({ typeName }: DescMessage): boolean {
  return Object.hasOwn(textExpectations, typeName);
}

const textExpectations: Readonly<Record<string, string>> = {
  [TimestampSchema.typeName]: 'must be a time with its zone, such as "2026-01-31T12:00:00Z"',
  [DurationSchema.typeName]: 'must be a duration in seconds, such as "1.5s"',
};

/** What a field takes, in words. */
function expectation(field: DescField): string {
  if (field.message !== undefined) return textExpectations[field.message.typeName] ?? "must be an object";
  if (field.enum !== undefined)
    return `must be one of ${field.enum.values.map(({ name }) => name).join(", ")}`;
  switch (field.scalar) {
    case ScalarType.STRING:
      return "must be a text";
    case ScalarType.BOOL:
      return "must be true or false";
    case ScalarType.BYTES:
      return "must be bytes in base64";
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return "must be a number that its type can hold";
    default:
      return "must be a whole number that its type can hold";
  }
}
