import type { EntityManager } from "@mikro-orm/postgresql";
import { serialNumberFault } from "../device-names.ts";
import { invalidArgument, OtaError } from "../errors.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import type { EnrolmentKeyRow } from "./enrolment-key.entity.ts";
import { matchesSerialPattern, serialPatternFault } from "./serial-patterns.ts";

/** Refuses, with the field, what is no serial number and what no serial number can match. */
export function requireSerials(serialNumbers: readonly string[], patterns: readonly string[]): void {
  requireEach("serial_numbers", serialNumbers, serialNumberFault);
  requireEach("serial_number_patterns", patterns, serialPatternFault);
}

/** Stores which serial numbers a key names. */
export async function storeSerials(
  em: EntityManager,
  keyId: string,
  serialNumbers: readonly string[],
): Promise<void> {
  if (serialNumbers.length > 0) await sessionOf(em).run(storeSql, [keyId, serialNumbers]);
}

/** Refuses a serial number that a key is not for. Throws `SERIAL_NUMBER_NOT_ALLOWED`. */
export async function requireAllowedSerial(
  em: EntityManager,
  key: Pick<EnrolmentKeyRow, "id" | "serialNumberCount" | "serialNumberPatterns">,
  serialNumber: string,
): Promise<void> {
  const { id, serialNumberCount, serialNumberPatterns } = key;
  if (serialNumberCount === 0 && serialNumberPatterns.length === 0) return;
  if (serialNumberPatterns.some((pattern) => matchesSerialPattern(pattern, serialNumber))) return;
  if (serialNumberCount > 0) {
    const named = await sessionOf(em).query<{ serial_number: string }>(findSql, [id, serialNumber]);
    if (named.length > 0) return;
  }
  const description = "is none of those that the enrolment key is for";
  throw new OtaError(
    "permission_denied",
    "SERIAL_NUMBER_NOT_ALLOWED",
    `the enrolment key is not for the serial number ${serialNumber}`,
    {
      fields: [{ field: "serial_number", description }],
      metadata: { serial_number: serialNumber, enrolment_key_id: id },
    },
  );
}

function requireEach(
  field: string,
  texts: readonly string[],
  faultOf: (text: string) => string | undefined,
): void {
  for (const [index, text] of texts.entries()) {
    const fault = faultOf(text);
    if (fault !== undefined) throw invalidArgument(`${field}[${index}]`, fault);
  }
}

const storeSql = sql`
  INSERT INTO enrolment_key_serials (enrolment_key_id, serial_number) SELECT $1, unnest($2::text[])`;

const findSql = sql`
  SELECT serial_number FROM enrolment_key_serials WHERE enrolment_key_id = $1 AND serial_number = $2`;
