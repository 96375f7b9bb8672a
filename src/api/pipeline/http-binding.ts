import type { DescField, DescMessage, DescMethod } from "@bufbuild/protobuf";
import type { HttpRule } from "../../../gen/google/api/http_pb.js";
import { PathTemplate } from "./path-template.ts";

/** One REST binding of a method, checked against its request message. */
export interface HttpBinding {
  /** The HTTP method. */
  readonly verb: string;
  /** The template as the contract writes it. */
  readonly path: string;
  readonly template: PathTemplate;
  /** What the HTTP body holds: the whole request (`*`), one field of it, or nothing. */
  readonly body: "*" | DescField | undefined;
  /** The field of the answer that is sent; undefined means the whole answer. */
  readonly responseBody: DescField | undefined;
}

/**
 * The bindings of a method's google.api.http rule, `additional_bindings` included. Throws for a rule that names
 * fields which do not exist.
 */
export function httpBindings(method: DescMethod, rule: HttpRule): HttpBinding[] {
  return [bindingOf(method, rule), ...rule.additionalBindings.map((more) => bindingOf(method, more))];
}

/** Finds a field by its dotted path; each name may be as in the proto file or in camelCase. */
function fieldByPath(message: DescMessage, path: string): DescField | undefined {
  let field: DescField | undefined;
  let at: DescMessage | undefined = message;
  for (const name of path.split(".")) {
    field = at?.fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
    if (field === undefined) return undefined;
    at = field.fieldKind === "message" ? field.message : undefined;
  }
  return field;
}

function bindingOf(method: DescMethod, rule: HttpRule): HttpBinding {
  const { verb, path } = verbAndPath(method, rule);
  const template = new PathTemplate(path);
  for (const variable of template.variables) requireField(method.input, variable, path);
  let body: HttpBinding["body"];
  if (rule.body === "*") body = "*";
  else if (rule.body !== "") body = requireField(method.input, rule.body, path);
  const responseBody =
    rule.responseBody === "" ? undefined : requireField(method.output, rule.responseBody, path);
  return { verb, path, template, body, responseBody };
}

function verbAndPath(method: DescMethod, { pattern }: HttpRule): { verb: string; path: string } {
  switch (pattern.case) {
    case "get":
    case "put":
    case "post":
    case "delete":
    case "patch":
      return { verb: pattern.case.toUpperCase(), path: pattern.value };
    case "custom":
      return { verb: pattern.value.kind.toUpperCase(), path: pattern.value.path };
    case undefined:
      throw new Error(`${method.parent.typeName}/${method.name}: its google.api.http rule has no path`);
  }
}

function requireField(message: DescMessage, path: string, where: string): DescField {
  const field = fieldByPath(message, path);
  if (field === undefined) throw new Error(`${where}: ${message.typeName} has no field ${path}`);
  return field;
}
