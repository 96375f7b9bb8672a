import {
  clearField,
  create,
  type DescField,
  type DescMessage,
  isFieldSet,
  type Message,
} from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { type FieldViolation, invalidArgument } from "../../errors.ts";
import { invalidRequest } from "./validation.ts";

/**
 * A request that changes a resource and takes the resource itself as well, with an `update_mask` (AIP-134): what of it can be changed
 * are the fields that the request has by the same names.
 */
export class ResourceUpdate {
  /** The field of the request that holds the resource. */
  readonly resource: DescField & { readonly fieldKind: "message" };
  readonly #request: DescMessage;
  readonly #mask: DescField;
  /** By the name of a field of the resource: that field, and the one of the request. */
  readonly #changeable: ReadonlyMap<string, { readonly from: DescField; readonly to: DescField }>;

  /** Those of them that are changed without being named. */
  readonly #implied: ReadonlyMap<string, { readonly from: DescField; readonly to: DescField }>;

  /** Undefined for a request that takes no resource. */
  static of(request: DescMessage): ResourceUpdate | undefined {
    const mask = request.fields.find(({ name }) => name === "update_mask");
    const resource = request.fields.find(
      (field) => field.fieldKind === "message" && request.name === `Update${field.message.name}Request`,
    );
    if (mask === undefined || resource?.fieldKind !== "message") return undefined;
    return new ResourceUpdate(request, resource, mask);
  }

  private constructor(
    request: DescMessage,
    resource: DescField & { readonly fieldKind: "message" },
    mask: DescField,
  ) {
    this.resource = resource;
    this.#request = request;
    this.#mask = mask;
    const pairs = request.fields.flatMap((to) => {
      const from = resource.message.fields.find(({ name }) => name === to.name);
      return from === undefined || notChanged.has(to.name) ? [] : [[from.name, { from, to }] as const];
    });
    this.#changeable = new Map(pairs);
    this.#implied = new Map(pairs.filter(([name]) => !onlyByName.has(name)));
  }

  /** The names, as JSON writes them, of what can be changed among some names of fields of the resource. */
  changeable(names: readonly string[]): string[] {
    return [...this.#implied.values()].flatMap(({ from }) =>
      names.includes(from.name) || names.includes(from.jsonName) ? [from.jsonName] : [],
    );
  }

  /**
   * Writes what is to be changed of the resource into the request's own fields, for the rules of the contract and the handler.
   * Throws INVALID_ARGUMENT for a mask that names what cannot be changed, and for a request that says things both ways.
   */
  expand(request: Message): void {
    const fields = request as unknown as Record<string, unknown>;
    const mask = fields[this.#mask.localName] as FieldMask | undefined;
    const resource = fields[this.resource.localName] as Message | undefined;
    const named = mask === undefined ? undefined : this.#named(mask);
    if (resource === undefined) {
      if (named !== undefined) this.#keepOnly(request, named);
      return;
    }
    this.#requireOneWay(request);
    for (const [name, { from, to }] of named === undefined ? this.#implied : this.#changeable) {
      if (named === undefined ? !isFieldSet(resource, from) : !named.has(name)) continue;
      fields[to.localName] = valueFor(to, (resource as unknown as Record<string, unknown>)[from.localName]);
    }
    const etag = this.#request.fields.find(({ name }) => name === "etag");
    if (etag !== undefined && fields[etag.localName] === "")
      fields[etag.localName] = (resource as unknown as { readonly etag?: string }).etag ?? "";
    // What else there is of it is the service's own, and no concern of the rules.
    clearField(request, this.resource);
  }

  #named({ paths }: FieldMask): ReadonlySet<string> {
    if (paths.includes("*")) return new Set(this.#implied.keys());
    const wrong = paths.find((path) => !this.#changeable.has(path));
    if (wrong === undefined) return new Set(paths);
    const names = [...this.#changeable.keys()].join(", ");
    throw invalidArgument("update_mask", `"${wrong.slice(0, 100)}" cannot be changed; what can is ${names}`);
  }

  /** Of fields of the request itself: a mask leaves out what it does not name. */
  #keepOnly(request: Message, named: ReadonlySet<string>): void {
    for (const [name, { to }] of this.#changeable) if (!named.has(name)) clearField(request, to);
  }

  #requireOneWay(request: Message): void {
    const twice = [...this.#changeable.values()].filter(({ to }) => isFieldSet(request, to));
    if (twice.length === 0) return;
    const violations = twice.map(
      ({ to }): FieldViolation => ({
        field: to.name,
        description: `is given beside ${this.resource.name}, which says it as well`,
      }),
    );
    throw invalidRequest(violations);
  }
}

/** They say which resource, and as it was when. */
const notChanged: ReadonlySet<string> = new Set(["id", "etag"]);

/** Resources have what holds, whoever said it: written back, what holds by default would become an operator's word. */
const onlyByName: ReadonlySet<string> = new Set(["expected_interval", "product"]);

/** A resource's value in the form of a request's field: lists and maps stand in messages of their own there, so that empty ones can be told. */
function valueFor(field: DescField, value: unknown): unknown {
  if (field.fieldKind === "list" && field.listKind === "message") {
    return (value as readonly Message[]).map((item) => partOf(field.message, item));
  }
  if (field.fieldKind !== "message") return value;
  // What is named and not there is taken away, as nothing of its kind.
  if (value === undefined) return create(field.message);
  if ((value as Partial<Message>).$typeName === field.message.typeName) return value;
  return wrapped(field.message, value);
}

function partOf(type: DescMessage, item: Message): Message {
  const given = item as unknown as Record<string, unknown>;
  const values = type.fields.map((field) => [field.localName, valueFor(field, given[field.localName])]);
  return create(type, Object.fromEntries(values));
}

function wrapped(type: DescMessage, value: unknown): Message {
  const [only] = type.fields;
  if (only === undefined || type.fields.length > 1) throw new Error(`${type.typeName} wraps no value`);
  return create(type, { [only.localName]: value });
}
