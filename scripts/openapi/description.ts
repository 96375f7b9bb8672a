import type { DescFile, DescMessage, DescMethod, FileRegistry } from "@bufbuild/protobuf";
import { anybody, CallerReader, securitySchemes } from "./callers.ts";
import { commentOf } from "./comments.ts";
import type { OpenApi } from "./document.ts";
import { addErrorSchemas, errorAnswers, errorsOf } from "./errors.ts";
import { boundMethods, Operations, type PlacedOperation } from "./operations.ts";
import { type RawOperation, rawOperations } from "./raw-operations.ts";
import { Schemas } from "./schemas.ts";

/** Describes all that programs can call at the HTTP port, but Connect and gRPC-Web. Throws for a contract that it has no words for. */
export function describeApi(registry: FileRegistry, files: readonly DescFile[]): OpenApi {
  const services = files.flatMap((file) => file.services).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const methods = services.flatMap((service) => service.methods);
  const bound = boundMethods(registry, methods);
  const schemas = new Schemas(
    bound.map(({ method }) => method.input),
    methods.map(({ output }) => output),
  );
  const operations = new Operations(registry, schemas);
  const placed = bound.flatMap(({ method, bindings }) =>
    bindings.map((binding, index) => operations.describe(method, binding, index)),
  );
  const raw = new RawOperations(registry, methods, operations);
  const reasons = registry.getEnum("ota.v1.ErrorReason");
  if (reasons === undefined) throw new Error("the contract has no ErrorReason");
  addErrorSchemas(schemas, reasons);
  const paths = byPath([...placed, ...rawOperations.map((each) => raw.describe(each))]);
  for (const name of namedSchemas(rawOperations)) {
    if (!(name in schemas.components)) schemas.message(messageNamed(registry, name));
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Device OTA & Heartbeat Service",
      version: "v1",
      description: about,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "The service that gives this description." }],
    tags: [
      ...services.map((service) => ({ name: service.name, description: commentOf(service) })),
      ...otherTags,
    ],
    paths,
    components: { securitySchemes, responses: errorAnswers, schemas: schemas.components },
  };
}

const about = `REST as the contract in \`proto/ota/v1\` binds it, made of that contract. The same methods are served over gRPC, Connect and gRPC-Web, and streams only there.

- JSON is protobuf's: integers of 64 bits and durations (\`90s\`) are text, bytes are base64, enums are names, times are RFC 3339. Requests may write names as here (\`pageSize\`) or as the contract does (\`page_size\`), which the texts use; names that are not known are refused.
- Credentials go into the header \`Authorization: Bearer …\`. \`x-roles\` says who may call.
- Every error is a \`Status\` whose details have an \`ErrorInfo\`. Every answer has the header \`x-request-id\`, which finds the call in the service's log.`;

const otherTags = [
  { name: "Health", description: "Probes and metrics, without a credential." },
  { name: "Session", description: "How browsers are signed in to the console." },
  { name: "Description", description: "This description." },
];

/** Describes what is served beside the RPCs. */
class RawOperations {
  readonly #callers: CallerReader;
  readonly #methods: ReadonlyMap<string, DescMethod>;
  readonly #operations: Operations;

  constructor(registry: FileRegistry, methods: readonly DescMethod[], operations: Operations) {
    this.#callers = new CallerReader(registry);
    this.#methods = new Map(methods.map((method) => [nameOf(method), method]));
    this.#operations = operations;
  }

  describe({
    path,
    verb,
    tag,
    method: name,
    queryBeside,
    parameters = [],
    ...raw
  }: RawOperation): PlacedOperation {
    const method = name === undefined ? undefined : this.#methods.get(name);
    if (name !== undefined && method === undefined) throw new Error(`there is no method ${name}`);
    const callers = method === undefined ? anybody : this.#callers.callersOf(method);
    const query =
      method === undefined || queryBeside === undefined ? [] : this.#operations.queryOf(method, queryBeside);
    const all = [...parameters, ...query];
    const errors = errorsOf({ isPublic: callers.security.length === 0, names: path.includes("{") });
    const operation = {
      ...raw,
      tags: [tag],
      ...callers,
      ...(all.length > 0 ? { parameters: all } : {}),
      responses: { ...raw.responses, ...errors },
    };
    return { path, verb, operation };
  }
}

function nameOf({ parent, name }: DescMethod): string {
  return `${parent.name}/${name}`;
}

/** The schemas that operations refer to. */
function namedSchemas(operations: readonly RawOperation[]): Set<string> {
  const references = JSON.stringify(operations).matchAll(/"#\/components\/schemas\/(?<name>[\w.]+)"/g);
  return new Set(Array.from(references, ({ groups }) => groups?.["name"] as string));
}

function messageNamed(registry: FileRegistry, name: string): DescMessage {
  const message = registry.getMessage(`ota.v1.${name}`);
  if (message === undefined) throw new Error(`the contract has no ${name}`);
  return message;
}

function byPath(placed: readonly PlacedOperation[]): OpenApi["paths"] {
  const paths: Record<string, OpenApi["paths"][string]> = {};
  for (const { path, verb, operation } of placed) paths[path] = { ...paths[path], [verb]: operation };
  return Object.fromEntries(Object.entries(paths).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
