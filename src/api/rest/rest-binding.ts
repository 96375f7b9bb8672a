import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { invalidArgument, OtaError } from "../../errors.ts";
import type { BoundEndpoint } from "../pipeline/endpoint-table.ts";
import type { HttpBinding } from "../pipeline/http-binding.ts";
import { messageFromJson } from "../pipeline/request-reading.ts";

/**
 * Builds the request message of a REST call as google/api/http.proto describes: path variables, then the body (all of
 * the request, one field, or nothing), and the query for the fields that neither names. Unknown names are refused, in
 * the body as in the query, because a misspelt filter that is ignored lists everything.
 *
 * Throws INVALID_ARGUMENT that names the field.
 */
export async function requestFromHttp(
  { endpoint, binding }: BoundEndpoint,
  variables: ReadonlyMap<string, string>,
  query: URLSearchParams,
  body: JsonValue | undefined,
): Promise<Message> {
  const message = endpoint.method.input;
  const json = bodyAsRequest(binding, body);
  for (const name of new Set(query.keys())) {
    if (binding.body === "*" || isBound(message, binding, name)) throw unknownParameter(name);
    setField(json, message, name, query.getAll(name));
  }
  for (const [path, value] of variables) setField(json, message, path, [value]);
  try {
    return await messageFromJson(endpoint, json, { ignoreUnknownFields: false });
  } catch (error) {
    throw asInvalidJson(error);
  }
}

function bodyAsRequest(binding: HttpBinding, body: JsonValue | undefined): JsonObject {
  if (binding.body === undefined || body === undefined) return {};
  if (binding.body !== "*") return { [binding.body.jsonName]: body };
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new OtaError("invalid_argument", "INVALID_REQUEST", "the body must be a JSON object");
  }
  return { ...body };
}

/** Whether the path or the body already says what a query parameter would say. */
function isBound(message: DescMessage, binding: HttpBinding, name: string): boolean {
  const [first = ""] = name.split(".");
  const field = fieldNamed(message, first);
  if (binding.body !== undefined && binding.body === field) return true;
  return binding.template.variables.some((variable) => {
    const [top = ""] = variable.split(".");
    return (
      variable === name || (!name.includes(".") && fieldNamed(message, top) === field && field !== undefined)
    );
  });
}

/** Sets a field by its dotted path, whichever way its names are written. */
function setField(json: JsonObject, message: DescMessage, path: string, values: readonly string[]): void {
  let target = json;
  let at = message;
  const names = path.split(".");
  for (const [index, name] of names.entries()) {
    const field = fieldNamed(at, name);
    if (field === undefined) throw unknownParameter(path);
    if (index === names.length - 1) {
      // The same field may stand in the body under either name: the path wins.
      delete target[field.name];
      target[field.jsonName] = jsonOf(field, path, values);
      return;
    }
    if (field.fieldKind !== "message") throw unknownParameter(path);
    const child = target[field.jsonName] ?? {};
    if (typeof child !== "object" || child === null || Array.isArray(child)) throw unknownParameter(path);
    target[field.jsonName] = child;
    target = child;
    at = field.message;
  }
}

function fieldNamed(message: DescMessage, name: string): DescField | undefined {
  return message.fields.find((field) => field.jsonName === name || field.name === name);
}

function jsonOf(field: DescField, path: string, values: readonly string[]): JsonValue {
  if (field.fieldKind === "list") {
    return values.map((value) => {
      if (field.listKind === "enum") return enumJson(field.enum, path, value);
      if (field.listKind === "scalar") return scalarJson(field.scalar, path, value);
      return messageJson(field.message, path, value);
    });
  }
  if (values.length > 1) throw invalidArgument(path, "is given more than once");
  const value = values[0] as string;
  switch (field.fieldKind) {
    case "enum":
      return enumJson(field.enum, path, value);
    case "scalar":
      return scalarJson(field.scalar, path, value);
    case "message":
      return messageJson(field.message, path, value);
    case "map":
      throw invalidArgument(path, "cannot be given in a query");
  }
}

/** An enum's value by name or by number. */
function enumJson(desc: DescEnum, path: string, value: string): JsonValue {
  if (/^-?\d+$/.test(value)) return Number(value);
  if (desc.values.some(({ name }) => name === value)) return value;
  throw invalidArgument(path, `must be one of ${desc.values.map(({ name }) => name).join(", ")}`);
}

/** Numbers stay text: the JSON mapping of protobuf takes both, and text keeps all digits of 64 bits. */
function scalarJson(scalar: ScalarType, path: string, value: string): JsonValue {
  if (scalar !== ScalarType.BOOL) return value;
  if (value === "true" || value === "false") return value === "true";
  throw invalidArgument(path, "must be true or false");
}

/** Messages that the JSON mapping writes as one text. */
const textMessages = new Set([
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
  "google.protobuf.FieldMask",
]);

function messageJson(message: DescMessage, path: string, value: string): JsonValue {
  if (textMessages.has(message.typeName)) return value;
  const [wrapped] = message.fields;
  if (
    message.typeName.startsWith("google.protobuf.") &&
    wrapped?.name === "value" &&
    wrapped.scalar !== undefined
  ) {
    return scalarJson(wrapped.scalar, path, value);
  }
  throw invalidArgument(path, "is a message; name one of its fields");
}

/** The parser's complaint without its prefix, which names types that a REST client does not know. */
function asInvalidJson(error: unknown): OtaError {
  const text = error instanceof Error ? error.message : "";
  const unknown = unknownKeyOf(text);
  if (unknown !== undefined) return invalidArgument(unknown.slice(0, 100), "is not a field of this request");
  const field = fieldOf(error);
  const cause = error instanceof Error ? error.cause : undefined;
  if (field !== undefined && cause instanceof Error) return invalidArgument(field, cause.message);
  const { type, value } =
    /^cannot decode (?:\w+ )?(?<type>[\w.]+) from JSON:? (?<value>.*)$/s.exec(text)?.groups ?? {};
  const problem = type === undefined ? "the request cannot be read" : `not a valid ${type}: ${value}`;
  return new OtaError("invalid_argument", "INVALID_REQUEST", problem, { cause: error });
}

/**
 * The key in protobuf-es' words `cannot decode message X from JSON: key "KEY" is unknown`. The client wrote it, and may repeat
 * those words in it as often as fit into a request: an expression would begin anew at each of them.
 */
function unknownKeyOf(text: string): string | undefined {
  const begin = text.indexOf(unknownKeyBegin);
  if (begin === -1 || !text.endsWith(unknownKeyEnd)) return undefined;
  return text.slice(begin + unknownKeyBegin.length, -unknownKeyEnd.length);
}

const unknownKeyBegin = ' from JSON: key "';
const unknownKeyEnd = '" is unknown';

/** protobuf-es puts the field that it could not read on the cause. */
function fieldOf(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  const field = (cause as { field?: () => { name: string } } | undefined)?.field;
  return typeof field === "function" ? field.call(cause).name : undefined;
}

function unknownParameter(name: string): OtaError {
  return invalidArgument(name.slice(0, 100), "is not a query parameter of this call");
}
