import {
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
import { faultOfValue, fieldNamed } from "../pipeline/json-fields.ts";
import { messageFromJson } from "../pipeline/request-reading.ts";
import { ResourceUpdate } from "../pipeline/resource-update.ts";

/** A request of a REST call. */
export interface RestRequest {
  readonly message: Message;
  /** As its caller wrote it, by the names that stood in path, query and body. */
  readonly written: JsonObject;
}

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
): Promise<RestRequest> {
  const message = endpoint.method.input;
  const json = bodyAsRequest(binding, body);
  for (const name of new Set(query.keys())) {
    const isMask = fieldNamed(message, name)?.name === "update_mask";
    if ((binding.body === "*" && !isMask) || isBound(message, binding, name)) throw unknownParameter(name);
    setField(json, message, name, query.getAll(name));
  }
  for (const [path, value] of variables) setField(json, message, path, [value]);
  const written = { ...json };
  implyMask(json, message, binding.verb);
  const read = await messageFromJson(endpoint, json, { ignoreUnknownFields: false });
  return { message: read, written };
}

/** A resource that comes without a mask: PUT replaces all that can be changed of it, PATCH what stands in the body. */
function implyMask(json: JsonObject, message: DescMessage, verb: string): void {
  const update = ResourceUpdate.of(message);
  const resource = update && (json[update.resource.jsonName] ?? json[update.resource.name]);
  const isMasked = (json["updateMask"] ?? json["update_mask"] ?? null) !== null;
  if (update === undefined || resource === undefined || isMasked) return;
  if (resource === null || typeof resource !== "object" || Array.isArray(resource)) return;
  json["updateMask"] = verb === "PUT" ? "*" : update.changeable(Object.keys(resource)).join(",");
  delete json["update_mask"];
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
      delete target[field.jsonName];
      target[name] = jsonOf(field, path, values);
      return;
    }
    if (field.fieldKind !== "message") throw unknownParameter(path);
    const written = field.name in target ? field.name : field.jsonName in target ? field.jsonName : name;
    const child = target[written] ?? {};
    if (typeof child !== "object" || Array.isArray(child)) throw unknownParameter(path);
    target[written] = child;
    target = child;
    at = field.message;
  }
}

/** Texts of the query in the form of JSON; whether they are what the field takes is found out with all that the body has. */
function jsonOf(field: DescField, path: string, values: readonly string[]): JsonValue {
  if (field.fieldKind === "map") throw invalidArgument(path, "cannot be given in a query");
  if (field.fieldKind === "list") {
    return values.map((value) => {
      const json = singleJson(field, path, value);
      // A query has no places in lists that could be named.
      const fault = faultOfValue(field, json);
      if (fault !== undefined) throw invalidArgument(path, fault);
      return json;
    });
  }
  if (values.length > 1) throw invalidArgument(path, "is given more than once");
  return singleJson(field, path, values[0] as string);
}

function singleJson(field: DescField, path: string, value: string): JsonValue {
  if (field.message !== undefined && !isText(field.message)) {
    throw invalidArgument(path, "is a message; name one of its fields");
  }
  if (field.enum !== undefined && /^-?\d+$/.test(value)) return Number(value);
  const scalar = field.scalar ?? wrappedScalar(field.message);
  // Numbers stay text: the JSON mapping of protobuf takes both, and text keeps all digits of 64 bits.
  return scalar === ScalarType.BOOL && (value === "true" || value === "false") ? value === "true" : value;
}

/** Messages that the JSON mapping writes as one text. */
const textMessages = new Set([
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
  "google.protobuf.FieldMask",
]);

function isText(message: DescMessage): boolean {
  return textMessages.has(message.typeName) || wrappedScalar(message) !== undefined;
}

/** What a wrapper of google.protobuf holds. */
function wrappedScalar(message: DescMessage | undefined): ScalarType | undefined {
  const [wrapped] = message?.fields ?? [];
  const isWrapper = message?.typeName.startsWith("google.protobuf.") && wrapped?.name === "value";
  return isWrapper ? wrapped?.scalar : undefined;
}

function unknownParameter(name: string): OtaError {
  return invalidArgument(name.slice(0, 100), "is not a query parameter of this call");
}
