import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { commentOf, joined } from "./comments.ts";
import type { Schema } from "./document.ts";
import { messageRules, type ValueRules, valueRules } from "./value-rules.ts";
import { wellKnownSchema } from "./well-known-schemas.ts";

/** Whether messages stand in requests only, in answers only, or in both. */
export type Direction = "request" | "answer" | "both";

/**
 * The schemas of the contract's messages in the JSON mapping of protobuf, as the REST door reads and writes it
 * (https://protobuf.dev/programming-guides/json/). A message that only requests have is closed, because the door refuses names
 * that it does not know; one that only answers have says which fields are always there, because the door writes zeros too.
 */
export class Schemas {
  readonly #components = new Map<string, Schema>();
  readonly #directions: ReadonlyMap<string, Direction>;

  /** `requests` and `answers` are the messages that operations begin with. */
  constructor(requests: readonly DescMessage[], answers: readonly DescMessage[]) {
    this.#directions = directionsOf(requests, answers);
  }

  /** All schemas that were referred to, by name. */
  get components(): Readonly<Record<string, Schema>> {
    return Object.fromEntries([...this.#components].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Adds a schema of no message. */
  add(name: string, schema: Schema): Schema {
    this.#components.set(name, schema);
    return { $ref: `#/components/schemas/${name}` };
  }

  /** Refers to the schema of a message. */
  message(message: DescMessage): Schema {
    const wellKnown = wellKnownSchema(message);
    if (wellKnown !== undefined) return wellKnown;
    const name = schemaName(message);
    const reference = { $ref: `#/components/schemas/${name}` };
    if (this.#components.has(name)) return reference;
    // Messages may contain themselves.
    this.#components.set(name, {});
    return this.add(name, this.objectOf(message, message.fields));
  }

  /** The object with some of a message's fields. */
  objectOf(message: DescMessage, fields: readonly DescField[]): Schema {
    const direction = this.#directions.get(message.typeName) ?? "both";
    const isClosed = direction === "request";
    const required = fields.filter((field) =>
      direction === "answer" ? isAlwaysWritten(field) : valueRules(field).required,
    );
    const exclusive = message.oneofs
      .map((oneof) => oneof.fields.filter((field) => fields.includes(field)))
      .filter(({ length }) => length > 1);
    return {
      type: "object",
      description: joined(commentOf(message), ...messageRules(message)),
      properties: Object.fromEntries(fields.map((field) => [field.jsonName, this.field(field)])),
      ...(required.length > 0 ? { required: required.map(({ jsonName }) => jsonName) } : {}),
      ...(exclusive.length > 0 ? { allOf: exclusive.map(atMostOne) } : {}),
      ...(isClosed ? { additionalProperties: false } : {}),
    };
  }

  /** The schema of a field's value, with what the contract says of it. */
  field(field: DescField): Schema {
    const rules = valueRules(field);
    const schema = this.#value(field, rules);
    const description = joined(commentOf(field), ...rules.words);
    const example = exampleOf(field, schema, description);
    return {
      ...schema,
      ...(description === undefined ? {} : { description }),
      ...(example === undefined ? {} : { examples: [example] }),
    };
  }

  #value(field: DescField, { keywords, items, keys }: ValueRules): Schema {
    switch (field.fieldKind) {
      case "scalar":
        return { ...scalarSchema(field.scalar), ...keywords };
      case "enum":
        return this.#enum(field.enum, keywords);
      case "message":
        return { ...this.message(field.message), ...keywords };
      case "list":
        return { type: "array", items: this.#item(field.listKind, field, items), ...keywords };
      case "map":
        return {
          type: "object",
          ...(keys && Object.keys(keys.keywords).length > 0 ? { propertyNames: keys.keywords } : {}),
          additionalProperties: this.#item(field.mapKind, field, items),
          ...keywords,
        };
    }
  }

  #item(
    kind: "scalar" | "enum" | "message",
    { scalar, enum: desc, message }: DescField,
    rules: ValueRules | undefined,
  ): Schema {
    const keywords = rules?.keywords ?? {};
    if (kind === "enum") return this.#enum(desc as DescEnum, keywords);
    if (kind === "message") return { ...this.message(message as DescMessage), ...keywords };
    return { ...scalarSchema(scalar as ScalarType), ...keywords };
  }

  #enum(desc: DescEnum, { notIn, ...keywords }: Schema): Schema {
    if (desc.typeName === "google.protobuf.NullValue") return { type: "null" };
    const name = schemaName(desc);
    const reference = { $ref: `#/components/schemas/${name}` };
    if (!this.#components.has(name)) this.add(name, enumSchema(desc));
    const refused = new Set((notIn as readonly number[] | undefined) ?? []);
    const names = desc.values.filter(({ number }) => refused.has(number)).map((value) => value.name);
    return { ...reference, ...keywords, ...(names.length > 0 ? { not: { enum: names } } : {}) };
  }
}

/** What a schema is called: the type's name without its package. */
export function schemaName({ typeName, file }: DescMessage | DescEnum): string {
  const prefix = `${file.proto.package}.`;
  return typeName.startsWith(prefix) ? typeName.slice(prefix.length) : typeName;
}

function directionsOf(requests: readonly DescMessage[], answers: readonly DescMessage[]) {
  const asked = reachable(requests);
  const answered = reachable(answers);
  const directions = new Map<string, Direction>();
  for (const name of asked) directions.set(name, answered.has(name) ? "both" : "request");
  for (const name of answered) if (!asked.has(name)) directions.set(name, "answer");
  return directions;
}

function reachable(messages: readonly DescMessage[], found = new Set<string>()): Set<string> {
  for (const message of messages) {
    if (found.has(message.typeName)) continue;
    found.add(message.typeName);
    reachable(
      message.fields.flatMap((field) => field.message ?? []),
      found,
    );
  }
  return found;
}

/** Whether answers have the field even if it is empty. */
function isAlwaysWritten(field: DescField): boolean {
  if (field.fieldKind === "list" || field.fieldKind === "map") return true;
  return field.fieldKind !== "message" && field.presence === implicitPresence;
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT */
const implicitPresence = 2;

/** Of some fields of one `oneof`. */
function atMostOne(fields: readonly DescField[]): Schema {
  const names = fields.map(({ jsonName }) => jsonName);
  const noneOfThem = { properties: Object.fromEntries(names.map((name) => [name, false])) };
  return { oneOf: [...names.map((name) => ({ required: [name] })), noneOfThem] };
}

function enumSchema(desc: DescEnum): Schema {
  const values = desc.values.map((value) => {
    const comment = commentOf(value);
    return comment === "" ? `- \`${value.name}\`` : `- \`${value.name}\`: ${comment}`;
  });
  return {
    type: "string",
    description: joined(commentOf(desc), values.join("\n")),
    enum: desc.values.map(({ name }) => name),
  };
}

function scalarSchema(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
      return { type: "number", format: "double" };
    case ScalarType.FLOAT:
      return { type: "number", format: "float" };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { type: "integer", format: "int32" };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: "integer", format: "int64", minimum: 0, maximum: 2 ** 32 - 1 };
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return { type: "string", format: "int64", pattern: "^-?[0-9]{1,19}$" };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { type: "string", format: "uint64", pattern: "^[0-9]{1,20}$" };
  }
}

/** The example in a text's description, if it is one: "for example `1.2.3`". */
function exampleOf(field: DescField, schema: Schema, description = ""): string | undefined {
  if (field.fieldKind !== "scalar" || field.scalar !== ScalarType.STRING) return undefined;
  const example = /for example `([^`<>]+)`/.exec(description)?.[1];
  const { pattern, format, maxLength } = schema;
  if (example === undefined || format !== undefined || example.length > Number(maxLength ?? 1_000))
    return undefined;
  return typeof pattern === "string" && !new RegExp(pattern, "u").test(example) ? undefined : example;
}
