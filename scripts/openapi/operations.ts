import { type DescField, type DescMethod, type FileRegistry, getOption, hasOption } from "@bufbuild/protobuf";
import type { HttpRule } from "../../gen/google/api/http_pb.js";
import { type HttpBinding, httpBindings } from "../../src/api/pipeline/http-binding.ts";
import { CallerReader, extensionNamed } from "./callers.ts";
import { commentOf, summaryOf } from "./comments.ts";
import type { Operation, Parameter, Schema } from "./document.ts";
import { errorsOf } from "./errors.ts";
import { queryParameters } from "./query-parameters.ts";
import { type Schemas, schemaName } from "./schemas.ts";

/** One operation with its place in the description. */
export interface PlacedOperation {
  readonly path: string;
  /** The HTTP method in lower case, as OpenAPI has it. */
  readonly verb: string;
  readonly operation: Operation;
}

/** The methods of a contract that have a path, with their bindings. */
export function boundMethods(
  registry: FileRegistry,
  methods: readonly DescMethod[],
): readonly { readonly method: DescMethod; readonly bindings: readonly HttpBinding[] }[] {
  const option = extensionNamed(registry, "google.api.http");
  return methods
    .filter((method) => hasOption(method, option))
    .map((method) => ({ method, bindings: httpBindings(method, getOption(method, option) as HttpRule) }));
}

/** Describes methods as the REST door binds them to paths. */
export class Operations {
  readonly #schemas: Schemas;
  readonly #callers: CallerReader;

  constructor(registry: FileRegistry, schemas: Schemas) {
    this.#schemas = schemas;
    this.#callers = new CallerReader(registry);
  }

  /** The operation of a method's binding of this index. */
  describe(method: DescMethod, binding: HttpBinding, index: number): PlacedOperation {
    const { summary, rest } = summaryOf(commentOf(method));
    const callers = this.#callers.callersOf(method);
    const parameters = [...this.#pathParameters(method, binding), ...this.#queryOf(method, binding)];
    const operation: Operation = {
      operationId: `${method.parent.name}_${method.name}${index === 0 ? "" : `_${index + 1}`}`,
      tags: [method.parent.name],
      summary,
      ...(rest === "" ? {} : { description: rest }),
      ...callers,
      ...(parameters.length > 0 ? { parameters } : {}),
      ...this.#body(method, binding, index),
      responses: {
        "200": {
          description: "Done.",
          content: { "application/json": { schema: this.#answer(method, binding) } },
        },
        ...errorsOf({
          isPublic: callers.security.length === 0,
          names: binding.template.variables.length > 0,
        }),
      },
    };
    return { path: openApiPath(binding), verb: binding.verb.toLowerCase(), operation };
  }

  /** The query of a method that is served in another way than by its binding. */
  queryOf(method: DescMethod, besides: readonly string[]): Parameter[] {
    const fields = method.input.fields.filter(({ name }) => !besides.includes(name));
    return queryParameters(fields, this.#schemas);
  }

  #pathParameters(method: DescMethod, { template }: HttpBinding): Parameter[] {
    return template.variables.map((variable) => {
      const field = fieldOf(method, variable);
      const { description, ...schema } = this.#schemas.field(field) as Schema & { description?: string };
      return {
        name: field.jsonName,
        in: "path",
        ...(description === undefined ? {} : { description }),
        required: true,
        schema: unlessEmpty(schema),
      };
    });
  }

  #queryOf(method: DescMethod, binding: HttpBinding): Parameter[] {
    if (binding.body === "*") return [];
    return queryParameters(
      freeFields(method, binding).filter((field) => field !== binding.body),
      this.#schemas,
    );
  }

  #body(method: DescMethod, binding: HttpBinding, index: number): Pick<Operation, "requestBody"> {
    const { body } = binding;
    if (body === undefined) return {};
    const content = (schema: Schema, required: boolean) => ({
      requestBody: { required, content: { "application/json": { schema } } },
    });
    if (body !== "*") return content(this.#schemas.field(body), false);
    const schema = this.#schemas.objectOf(method.input, freeFields(method, binding));
    const name = `${schemaName(method.input)}${index === 0 ? "" : index + 1}`;
    return content(this.#schemas.add(name, schema), Array.isArray(schema["required"]));
  }

  #answer({ output }: DescMethod, { responseBody }: HttpBinding): Schema {
    return responseBody === undefined ? this.#schemas.message(output) : this.#schemas.field(responseBody);
  }
}

/** A path as OpenAPI writes it: variables by the names of JSON. */
function openApiPath({ path, template }: HttpBinding): string {
  return template.variables.reduce(
    (written, variable) =>
      written.replace(new RegExp(`\\{${RegExp.escape(variable)}(=\\*)?\\}`), `{${jsonName(variable)}}`),
    path,
  );
}

function jsonName(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The fields of a request that its path does not have. */
function freeFields({ input }: DescMethod, { template }: HttpBinding): DescField[] {
  return input.fields.filter(({ name }) => !template.variables.includes(name));
}

function fieldOf({ input }: DescMethod, name: string): DescField {
  const field = input.fields.find((candidate) => candidate.name === name);
  if (field === undefined)
    throw new Error(`${input.typeName} has no field ${name}, or it lies within another one`);
  return field;
}

/** Without the leave to be empty: a part of a path never is. */
function unlessEmpty({ anyOf, ...schema }: Schema): Schema {
  const [, full] = (anyOf as readonly Schema[] | undefined) ?? [];
  return { ...schema, ...full };
}
