/** The parts of an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1) that the description of our API is made of. */
export interface OpenApi {
  readonly openapi: string;
  readonly info: Readonly<Record<string, unknown>>;
  readonly servers: readonly { readonly url: string; readonly description: string }[];
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** One method of a path. */
export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  /** Who may call: `device`, and the roles of operators. Empty: anybody. */
  readonly "x-roles": readonly string[];
  /** How the limits of a token apply, as `ota.v1.MethodScope`. */
  readonly "x-scope"?: unknown;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Body & { readonly required?: boolean };
  readonly responses: Readonly<Record<string, Answer | Reference>>;
}

/** A part of a path or of a query. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly description?: string;
  readonly required?: boolean;
  readonly schema: Schema;
}

/** An answer to an operation. */
export interface Answer extends Partial<Body> {
  readonly description: string;
  readonly headers?: Readonly<Record<string, unknown>>;
}

/** Contents by media type. */
export interface Body {
  readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
}

/** Something that stands in `components`. */
export interface Reference {
  readonly $ref: string;
}

/** A schema of JSON Schema 2020-12. */
export type Schema = Readonly<Record<string, unknown>>;
