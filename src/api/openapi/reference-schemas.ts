import { type ApiSchema, referredName } from "./document.ts";
import { type Html, html, inline, markdown } from "./html.ts";

/** One schema of the description, with an anchor that its uses lead to. */
export function schemaSection(name: string, schema: ApiSchema): Html {
  return html`<article id="${anchorOf(name)}"><h3>${name}</h3>${markdown(schema.description ?? "")}${fieldsOf(schema)}</article>`;
}

/** The fields of an object, or nothing. */
export function fieldsOf({ properties = {}, required = [] }: ApiSchema): Html | undefined {
  const fields = Object.entries(properties);
  if (fields.length === 0) return undefined;
  return fieldTable(
    fields.map(([name, schema]) => ({ name, schema, mark: required.includes(name) ? "required" : "" })),
  );
}

/** Something with a name and a value: a field, or a parameter. */
export interface NamedValue {
  readonly name: string;
  readonly schema: ApiSchema;
  readonly description?: string | undefined;
  /** What else is to be said beside the name. */
  readonly mark: string;
}

/** Names with their types and what is to be said of them. */
export function fieldTable(fields: readonly NamedValue[]): Html {
  const rows = fields.map(({ name, schema, description = schema.description ?? "", mark }) => {
    const bounds = boundsOf(schema);
    return html`<tr><th scope="row"><code>${name}</code>${mark !== "" && html` <small>${mark}</small>`}</th><td>${typeOf(schema)}${bounds !== "" && html` <small>${inline(bounds)}</small>`}${markdown(description)}</td></tr>`;
  });
  return html`<table>${rows}</table>`;
}

/** A type in words, with links to what it is made of. */
export function typeOf(schema: ApiSchema): Html {
  if (schema.$ref !== undefined) {
    const name = referredName(schema.$ref);
    return html`<a href="#${anchorOf(name)}">${name}</a>`;
  }
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum !== undefined)
    return html`one of ${inline(schema.enum.map((value) => `\`${String(value)}\``).join(", "))}`;
  if (schema.anyOf !== undefined && schema.type === undefined)
    return html`${schema.anyOf.map((each, index) => html`${index > 0 && " or "}${typeOf(each)}`)}`;
  const [type = "any value"] = [schema.type].flat();
  if (type === "array") return html`list of ${typeOf(schema.items ?? {})}`;
  if (type === "object" && typeof schema.additionalProperties === "object")
    return html`map of ${typeOf(schema.additionalProperties)}`;
  if (type === "string") return html`${textType(schema)}`;
  return html`${type}`;
}

function textType({ format, contentEncoding, anyOf = [] }: ApiSchema): string {
  const form = format ?? anyOf.find((each) => each.format !== undefined)?.format;
  if (contentEncoding !== undefined) return "bytes (base64)";
  return form === undefined ? "text" : `text (${form})`;
}

function boundsOf(schema: ApiSchema): string {
  const { minimum, exclusiveMinimum, maximum, minLength, maxLength, minItems, maxItems, maxProperties } =
    schema;
  const words = [
    range(minimum, maximum, ""),
    exclusiveMinimum === undefined ? "" : `more than ${exclusiveMinimum}`,
    range(minLength, maxLength, " characters"),
    range(minItems, maxItems, " items"),
    range(undefined, maxProperties, " entries"),
    schema.pattern === undefined || schema.format !== undefined ? "" : `\`${schema.pattern}\``,
  ];
  return words.filter((each) => each !== "").join("; ");
}

function range(least: number | undefined, most: number | undefined, unit: string): string {
  if (least !== undefined && most !== undefined) return `${least} to ${most}${unit}`;
  if (least !== undefined) return `at least ${least}${unit}`;
  return most === undefined ? "" : `at most ${most}${unit}`;
}

function anchorOf(schemaName: string): string {
  return `schema-${schemaName}`;
}
