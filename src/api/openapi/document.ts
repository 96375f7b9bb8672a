/** What the reference page reads of the description; scripts/openapi makes it. */
export interface ApiDescription {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, ApiSchema>>;
    readonly responses: Readonly<Record<string, ApiAnswer>>;
  };
}

/** One method of a path. */
export interface ApiOperation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly "x-roles": readonly string[];
  readonly security: readonly unknown[];
  readonly parameters?: readonly ApiParameter[];
  readonly requestBody?: ApiBody & { readonly required?: boolean };
  readonly responses: Readonly<Record<string, ApiAnswer>>;
}

/** A part of a path, a query or the headers. */
interface ApiParameter {
  readonly name: string;
  readonly in: string;
  readonly description?: string;
  readonly required?: boolean;
  readonly schema: ApiSchema;
}

interface ApiBody {
  readonly content: Readonly<Record<string, { readonly schema: ApiSchema }>>;
}

/** An answer, or where among the components it is. */
export interface ApiAnswer extends Partial<ApiBody> {
  readonly $ref?: string;
  readonly description?: string;
}

/** What of JSON Schema the description uses. */
export interface ApiSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly format?: string;
  readonly contentEncoding?: string;
  readonly pattern?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly items?: ApiSchema;
  readonly properties?: Readonly<Record<string, ApiSchema>>;
  readonly additionalProperties?: ApiSchema | boolean;
  readonly required?: readonly string[];
  readonly anyOf?: readonly ApiSchema[];
}

/** The name at the end of a reference to a component. */
export function referredName(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}
