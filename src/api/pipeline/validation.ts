import type { DescMessage, Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator, type Violation } from "@bufbuild/protovalidate";
import { type FieldViolation, OtaError } from "../../errors.ts";
import { ValueRules } from "./value-rules.ts";

/**
 * Checks a request: values by the {@link ValueRules} that hold for every field, then the protovalidate rules of the contract,
 * whose limits stand in the proto files and nowhere else. Throws INVALID_ARGUMENT that names every field which breaks its rule. The
 * rules of a type are compiled when it is first seen, once in a process: all of them at the start would take half of that.
 */
export function checkRequest(schema: DescMessage, message: Message): void {
  const unfit = values.violations(schema, message);
  if (unfit.length > 0) throw invalidRequest(unfit);
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  throw invalidRequest(result.violations.map(fieldViolation));
}

/**
 * Matches a pattern of the contract. protovalidate's own RE2 takes a third of a second to begin with; that these patterns take
 * linear time is proven by their form, like that of all expressions of the service (test/attacks/expressions.test.ts).
 */
function regexMatch(pattern: string, text: string): boolean {
  let expression = expressions.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(pattern, "u");
    expressions.set(pattern, expression);
  }
  return expression.test(text);
}

const expressions = new Map<string, RegExp>();

const validator: Validator = createValidator({ regexMatch });
const values = new ValueRules();

/** More than this tell the caller nothing new, and error details travel in headers of limited size. */
const maxReportedViolations = 16;

const maxDescriptionLength = 300;

function fieldViolation({ field, message, ruleId }: Violation): FieldViolation {
  return { field: pathToString(field), description: message || ruleId };
}

/** INVALID_ARGUMENT that names the fields which break a rule, the first of them in its message. */
export function invalidRequest(violations: readonly FieldViolation[]): OtaError {
  const fields = violations.slice(0, maxReportedViolations).map(({ field, description }) => ({
    field: shortened(field.toWellFormed()),
    description: shortened(description),
  }));
  const [first] = fields;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  const where = first === undefined || first.field === "" ? "" : `${first.field}: `;
  return new OtaError("invalid_argument", "INVALID_REQUEST", `${where}${first?.description ?? ""}${more}`, {
    fields,
    metadata: { field: first?.field ?? "" },
  });
}

function shortened(text: string): string {
  return text.length <= maxDescriptionLength ? text : `${text.slice(0, maxDescriptionLength)}…`;
}
