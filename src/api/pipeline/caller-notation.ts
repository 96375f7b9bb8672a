import type { DescField, DescMessage, JsonValue } from "@bufbuild/protobuf";
import { OtaError } from "../../errors.ts";
import { fieldNamed } from "./json-fields.ts";

/**
 * An error of a request that came as JSON, with its fields named as the caller wrote them: `releaseNotes` or `release_notes`. What the
 * caller did not write is named as JSON does.
 */
export function inCallerNotation(error: OtaError, type: DescMessage, written: JsonValue): OtaError {
  if (error.fields.length === 0) return error;
  const fields = error.fields.map(({ field, description }) => ({
    field: pathAsWritten(field, type, written),
    description,
  }));
  const [before] = error.fields;
  const [after] = fields;
  if (before === undefined || after === undefined) return error;
  const isNamed = error.message.startsWith(`${before.field}: `);
  const message = isNamed ? `${after.field}${error.message.slice(before.field.length)}` : error.message;
  const { code, reason, metadata, retryAfterMs, cause } = error;
  return new OtaError(code, reason, message, {
    fields,
    metadata: metadata["field"] === before.field ? { ...metadata, field: after.field } : metadata,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    cause,
  });
}

/** A path of the contract such as `rings[0].min_sample` or `metadata["a.b"]`, by the names that the caller wrote. */
function pathAsWritten(path: string, message: DescMessage, json: JsonValue): string {
  let result = "";
  let type: DescMessage | undefined = message;
  let at: JsonValue | undefined = json;
  for (const step of steps(path)) {
    if (step.startsWith("[")) {
      result += step;
      at = itemOf(at, step);
      continue;
    }
    const field: DescField | undefined = type === undefined ? undefined : fieldNamed(type, step);
    // Not of the contract, and so the caller's own already.
    const name = field === undefined ? step : nameWritten(field, at);
    result += result === "" ? name : `.${name}`;
    at = isObject(at) ? at[name] : undefined;
    type = field?.message;
  }
  return result;
}

/** The names and places in lists or maps that a path is made of. */
function steps(path: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < path.length; ) {
    let end: number;
    if (path[at] === "[") {
      const close = path.indexOf(path[at + 1] === '"' ? '"]' : "]", at + 2);
      end = close < 0 ? path.length : path.indexOf("]", close) + 1;
    } else {
      end = at;
      while (end < path.length && path[end] !== "." && path[end] !== "[") end++;
    }
    if (end > at) found.push(path.slice(at, end));
    at = path[end] === "." ? end + 1 : Math.max(end, at + 1);
  }
  return found;
}

function nameWritten({ name, jsonName }: DescField, at: JsonValue | undefined): string {
  return isObject(at) && Object.hasOwn(at, name) && !Object.hasOwn(at, jsonName) ? name : jsonName;
}

function itemOf(at: JsonValue | undefined, step: string): JsonValue | undefined {
  if (Array.isArray(at)) return at[Number(step.slice(1, -1))];
  return isObject(at) ? at[step.slice(2, -2)] : undefined;
}

function isObject(json: JsonValue | undefined): json is { [name: string]: JsonValue } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
