import type { DescMessage, Message } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator, type Violation } from "@bufbuild/protovalidate";
import { OtaError } from "../../errors.ts";

/**
 * Checks requests against the protovalidate rules of the contract: the limits stand in the proto files and nowhere
 * else. Rules are compiled when a type is first seen, so {@link prepare} is called for every type at start.
 */
export class RequestValidator {
  readonly #validator: Validator = createValidator();

  /** Compiles the rules of a type. Throws if the contract's rules themselves are wrong. */
  prepare(schema: DescMessage): void {
    const result = this.#validator.validate(schema, create(schema));
    if (result.kind === "error") throw result.error;
  }

  /** Throws INVALID_ARGUMENT that names every field which breaks its rule. */
  check(schema: DescMessage, message: Message): void {
    const result = this.#validator.validate(schema, message);
    if (result.kind === "valid") return;
    if (result.kind === "error") throw result.error;
    throw invalidRequest(result.violations);
  }
}

/** More than this tell the caller nothing new, and error details travel in headers of limited size. */
const maxReportedViolations = 16;

const maxDescriptionLength = 300;

function invalidRequest(violations: readonly Violation[]): OtaError {
  const fields = violations.slice(0, maxReportedViolations).map((violation) => ({
    field: pathToString(violation.field),
    description: shortened(violation.message || violation.ruleId),
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
