import { fromBinary, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { invalidArgument, OtaError } from "../../errors.ts";
import { duplicateKey } from "./duplicate-key.ts";
import type { Endpoint, JsonReading } from "./endpoint.ts";
import { jsonFields } from "./json-fields.ts";
import { invalidRequest } from "./validation.ts";

/**
 * Reads a request message from its binary encoding. A promise means that it could not be read as a whole and is salvaged. Throws
 * INVALID_ARGUMENT for what is no such message.
 */
export function messageFromBinary(endpoint: Endpoint, bytes: Uint8Array): Message | Promise<Message> {
  const { input } = endpoint.method;
  try {
    return fromBinary(input, bytes, binaryOptions);
  } catch (cause) {
    const refusal = () =>
      new OtaError("invalid_argument", "INVALID_REQUEST", `the request is not a valid ${input.typeName}`, {
        cause,
      });
    const salvaged = endpoint.options.salvage?.fromBinary(bytes);
    if (salvaged === undefined) throw refusal();
    return salvaged.then((message) => {
      if (message === undefined) throw refusal();
      return message;
    });
  }
}

/** What a client of a newer contract sends in unknown fields is of no use here. */
const binaryOptions = { readUnknownFields: false };

/**
 * Reads a request message from JSON. Throws INVALID_ARGUMENT that names each field which holds what it cannot, as {@link jsonFields}
 * says it.
 */
export async function messageFromJson(
  endpoint: Endpoint,
  json: JsonValue,
  reading: JsonReading,
): Promise<Message> {
  const { method, options } = endpoint;
  if (options.salvage !== undefined) {
    try {
      // Strictly first: words that an enum does not have would be passed over as unknown names are.
      return fromJson(method.input, json);
    } catch {
      // What is wrong beside what can be salvaged is said below.
      const salvaged = await options.salvage.fromJson(json, reading).catch(() => undefined);
      if (salvaged !== undefined) return salvaged;
    }
  }
  const unknownNames = reading.ignoreUnknownFields ? "passed over" : "refused";
  const { json: fields, violations } = jsonFields(method.input, json, unknownNames);
  if (violations.length > 0) throw invalidRequest(violations);
  try {
    return fromJson(method.input, fields);
  } catch (cause) {
    // Two fields of one oneof, for example.
    throw new OtaError("invalid_argument", "INVALID_REQUEST", "the request cannot be read", { cause });
  }
}

/**
 * Reads JSON from a request's body, which must be UTF-8 (RFC 8259, section 8.1). Where messages are salvaged, a text that is not
 * has a lone surrogate in the place of each byte that is wrong, for the rules of texts to find, and a bare word such as the `NaN`
 * that Python writes is taken for a text. Throws INVALID_ARGUMENT for what is no JSON.
 */
export function jsonFromBody(body: Uint8Array, { options }: Pick<Endpoint, "options">): JsonValue {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
    const json = JSON.parse(text) as JsonValue;
    // A backlog is not refused for it, as nothing of it is for anything that can be made sense of.
    const twice = options.salvage === undefined ? duplicateKey(text) : undefined;
    if (twice !== undefined) throw invalidArgument(twice.slice(0, 100), "is given more than once");
    return json;
  } catch (cause) {
    if (cause instanceof OtaError) throw cause;
    try {
      if (options.salvage !== undefined) return JSON.parse(tolerantText(body)) as JsonValue;
    } catch {
      // What was wrong first is what is told.
    }
    throw new OtaError("invalid_argument", "INVALID_REQUEST", "the body is not valid JSON", { cause });
  }
}

function tolerantText(body: Uint8Array): string {
  // Each U+FFFD that stands in the body is escaped first; those that the decoder then puts in stand for what is no UTF-8.
  const escaped = Buffer.from(body).toString("latin1").replaceAll("\u00ef\u00bf\u00bd", "\\ufffd");
  const text = new TextDecoder().decode(Buffer.from(escaped, "latin1")).replaceAll("\ufffd", "\udfff");
  return text.replaceAll(stringOrWord, (token) => (isBareWord(token) ? `"${token}"` : token));
}

/** A string of JSON, closed or not, or a word outside of any, which the `e` of a number is not. It never goes back over what it has matched. */
const stringOrWord = /"[^"\\]*(?:\\[^][^"\\]*)*(?:"|\\?$)|(?<![\d.])-?[A-Za-z]+/g;

function isBareWord(token: string): boolean {
  return !token.startsWith('"') && !["true", "false", "null"].includes(token);
}
