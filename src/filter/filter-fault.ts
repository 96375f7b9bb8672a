import { OtaError } from "../errors.ts";

/**
 * `INVALID_FILTER`: says where in the filter (from 0; shown and sent counted from 1) something is wrong, and what was
 * expected there. `field` is the path of the filter in the request.
 */
export function invalidFilter(field: string, at: number, problem: string): OtaError {
  const position = String(at + 1);
  const description = `at character ${position}: ${problem}`;
  return new OtaError("invalid_argument", "INVALID_FILTER", `${field}: ${description}`, {
    fields: [{ field, description }],
    metadata: { field, position },
  });
}
