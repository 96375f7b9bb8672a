import type { DescField } from "@bufbuild/protobuf";
import type { Parameter, Schema } from "./document.ts";
import type { Schemas } from "./schemas.ts";
import { valueRules } from "./value-rules.ts";
import { wellKnownSchema } from "./well-known-schemas.ts";

/**
 * The query parameters for fields of a request, as the REST door reads them: lists by repeating the name, fields of messages by
 * their path. What a query cannot say (maps, lists of messages, messages within themselves) is left out.
 */
export function queryParameters(fields: readonly DescField[], schemas: Schemas): Parameter[] {
  return parametersOf(fields, schemas, []);
}

function parametersOf(
  fields: readonly DescField[],
  schemas: Schemas,
  outer: readonly DescField[],
): Parameter[] {
  return fields.flatMap((field): Parameter[] => {
    if (field.fieldKind === "map" || outer.includes(field)) return [];
    if (field.fieldKind === "list" && field.listKind === "message" && !isText(field)) return [];
    if (field.fieldKind === "message" && !isText(field))
      return parametersOf(field.message.fields, schemas, [...outer, field]);
    const { description, ...schema } = schemas.field(field) as Schema & { readonly description?: string };
    return [
      {
        name: [...outer, field].map(({ jsonName }) => jsonName).join("."),
        in: "query",
        ...(description === undefined ? {} : { description }),
        ...(outer.length === 0 && valueRules(field).required ? { required: true } : {}),
        schema,
      },
    ];
  });
}

/** Whether JSON has the message as one text, number or truth value. */
function isText({ message }: DescField): boolean {
  const type = message && wellKnownSchema(message)?.["type"];
  return type !== undefined && type !== "object" && type !== "array";
}
