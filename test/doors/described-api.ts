import { Ajv2020, type AnySchemaObject, type ValidateFunction } from "ajv/dist/2020.js";
import { fullFormats } from "ajv-formats/dist/formats.js";
import type { ApiAnswer, ApiDescription, ApiOperation, ApiSchema } from "../../src/api/openapi/document.ts";
import { sampleOf } from "../../src/api/openapi/sample.ts";
import type { HttpAnswer } from "../support/door-clients.ts";

/** An operation as the description has it. */
export interface DescribedOperation {
  /** As people write it, `GET /api/v1/devices/{id}`. */
  readonly name: string;
  readonly path: string;
  readonly verb: string;
  readonly operation: ApiOperation;
}

/** A request made of nothing but the description and values by name. */
export interface DescribedRequest {
  readonly url: string;
  readonly body: unknown;
}

/** The description of the API, and whether requests and answers are as it says. */
export class DescribedApi {
  readonly operations: readonly DescribedOperation[];
  readonly #api: ApiDescription;
  readonly #ajv = new Ajv2020({
    strict: false,
    inlineRefs: false,
    formats: { ...fullFormats, uint64: true },
  });
  readonly #checks = new Map<string, ValidateFunction>();

  constructor(api: ApiDescription) {
    this.#api = api;
    this.operations = Object.entries(api.paths).flatMap(([path, verbs]) =>
      Object.entries(verbs).map(([each, operation]) => {
        const verb = each.toUpperCase();
        return { name: `${verb} ${path}`, path, verb, operation };
      }),
    );
    this.#ajv.addSchema(closed(api) as AnySchemaObject, "api");
  }

  /** The schema of a JSON body, its reference followed. */
  bodySchema({ operation }: DescribedOperation): ApiSchema | undefined {
    const schema = operation.requestBody?.content["application/json"]?.schema;
    return schema?.$ref === undefined
      ? schema
      : this.#api.components.schemas[schema.$ref.replace(/^.*\//, "")];
  }

  /** The least value that a schema allows. */
  sample(schema: ApiSchema): unknown {
    return sampleOf(schema, this.#api.components.schemas);
  }

  /** A request with values by name, and whatever else it must have. */
  request(described: DescribedOperation, values: Readonly<Record<string, unknown>>): DescribedRequest {
    const { path, operation } = described;
    const rest = { ...values };
    const taken = (name: string, schema: ApiSchema) => {
      const value = rest[name] ?? this.sample(schema);
      delete rest[name];
      return value;
    };
    let url = path;
    const query = new URLSearchParams();
    for (const { name, in: place, required, schema } of operation.parameters ?? []) {
      if (place === "path") url = url.replace(`{${name}}`, encodeURIComponent(String(taken(name, schema))));
      if (place !== "query" || (required !== true && rest[name] === undefined)) continue;
      for (const value of [taken(name, schema)].flat()) query.append(name, String(value));
    }
    const schema = this.bodySchema(described);
    const body = schema && { ...(this.sample(schema) as object), ...rest };
    return { url: query.size > 0 ? `${url}?${query.toString()}` : url, body };
  }

  /** Requests that each break one rule of the description: of a field of the body, or of a parameter. */
  *brokenRequests(
    described: DescribedOperation,
    values: Readonly<Record<string, unknown>>,
  ): Iterable<{ readonly what: string; readonly request: DescribedRequest }> {
    const { url, body } = this.request(described, values);
    const schema = this.bodySchema(described);
    if (schema?.properties !== undefined && schema.additionalProperties === false) {
      yield { what: "with another field", request: { url, body: { ...(body as object), noSuchField: 1 } } };
      for (const [name, property] of Object.entries(schema.properties)) {
        for (const value of brokenValues(property)) {
          const said = JSON.stringify(value)?.slice(0, 60);
          yield {
            what: `with ${name} ${said}`,
            request: { url, body: { ...(body as object), [name]: value } },
          };
        }
      }
      for (const name of schema.required ?? []) {
        const { [name]: _, ...rest } = body as Record<string, unknown>;
        yield { what: `without ${name}`, request: { url, body: rest } };
      }
    }
    for (const { name, in: place, schema: rules } of described.operation.parameters ?? []) {
      if (place !== "query") continue;
      for (const value of brokenTexts(rules)) {
        const target = new URL(url, "http://service");
        target.searchParams.delete(name);
        target.searchParams.append(name, value);
        yield {
          what: `with ?${name}=${value.slice(0, 60)}`,
          request: { url: `${target.pathname}${target.search}`, body },
        };
      }
    }
  }

  /** What in a JSON body is not as described. */
  bodyFaults({ operation }: DescribedOperation, body: unknown): string[] {
    const schema = operation.requestBody?.content["application/json"]?.schema;
    return schema === undefined ? [] : this.#faults(schema, body);
  }

  /** What in an answer is not as described. */
  answerFaults({ operation }: DescribedOperation, { status, headers, body }: HttpAnswer): string[] {
    const { responses } = operation;
    const answer = this.#followed(responses[status] ?? responses[`${String(status)[0]}XX`]);
    if (answer === undefined) return [`status ${status} is not described`];
    if (answer.content === undefined) return [];
    const [type = ""] = (headers.get("content-type") ?? "").split(";");
    const content = answer.content[type];
    if (content === undefined) return [`${type} is not described for ${status}`];
    return type === "application/json" ? this.#faults(content.schema, body) : [];
  }

  #followed(answer: ApiAnswer | undefined): ApiAnswer | undefined {
    if (answer?.$ref === undefined) return answer;
    return this.#api.components.responses[answer.$ref.replace(/^.*\//, "")];
  }

  #faults(schema: ApiSchema, value: unknown): string[] {
    const key = JSON.stringify(schema);
    const check =
      this.#checks.get(key) ??
      this.#ajv.compile(JSON.parse(key.replaceAll('"#/', '"api#/')) as AnySchemaObject);
    this.#checks.set(key, check);
    if (check(value)) return [];
    return (check.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  }
}

/** The description where no object has fields that it does not name, so that what it forgets is found. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== "object" || value === null) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([name, each]) => [name, closed(each)]));
  return inner["type"] === "object" && "properties" in inner && !("additionalProperties" in inner)
    ? { ...inner, additionalProperties: false }
    : inner;
}

/** Values that break a rule each. */
function brokenValues(schema: ApiSchema): unknown[] {
  if (schema.$ref !== undefined) return [[]];
  switch ([schema.type].flat()[0]) {
    case "string":
      return [{}, ...brokenTexts(schema)];
    case "integer":
      return [1.5, ...brokenNumbers(schema)];
    case "number":
      return [{}, ...brokenNumbers(schema)];
    case "array":
      return [
        1,
        ...(schema.maxItems === undefined ? [] : [Array.from({ length: schema.maxItems + 1 }, () => "a")]),
      ];
    case "boolean":
    case "object":
      return [1];
    default:
      return [];
  }
}

function brokenNumbers({ minimum, maximum }: Pick<ApiSchema, "minimum" | "maximum">): number[] {
  return [...(minimum === undefined ? [] : [minimum - 1]), ...(maximum === undefined ? [] : [maximum + 1])];
}

function brokenTexts({ type, format, pattern, minLength, maxLength, anyOf, ...bounds }: ApiSchema): string[] {
  if (type === "integer" || type === "number") return ["x", ...brokenNumbers(bounds).map(String)];
  if (type === "boolean") return ["x"];
  if (type !== "string") return [];
  const exact = format ?? anyOf?.find((each) => each.format !== undefined)?.format;
  return [
    ...(exact === undefined ? [] : ["x"]),
    ...(pattern === undefined || new RegExp(pattern, "u").test('\\ "') ? [] : ['\\ "']),
    ...(minLength === undefined || minLength < 2 ? [] : ["x"]),
    ...(maxLength === undefined ? [] : ["x".repeat(maxLength + 1)]),
  ];
}
