import { expect, test } from "vitest";
import { describeBadRow, type FailureKind, kindOfFailure } from "./ingest-failures.ts";
import { IngestFailure } from "./ingest-transaction.ts";

function serverError(code: string, more: object = {}): IngestFailure {
  return new IngestFailure(Object.assign(new Error("server says no"), { code, ...more }), false);
}

const cases: readonly (readonly [string, unknown, FailureKind])[] = [
  ["deadlock", serverError("40P01"), "again"],
  ["serialization failure", serverError("40001"), "again"],
  ["no partition", serverError("23514"), "no_partition"],
  ["a check of ours", serverError("23514", { constraint: "c" }), "bad_row"],
  ["a value out of range", serverError("22003"), "bad_row"],
  ["NUL in a document", serverError("22P05"), "bad_row"],
  ["a key that is there", serverError("23505", { constraint: "k" }), "bad_row"],
  ["a value that the encoder cannot write", new RangeError("not a UUID"), "bad_row"],
  ["disk full", serverError("53100"), "outage"],
  ["read-only", serverError("25006"), "outage"],
  ["shutdown", serverError("57P01"), "outage"],
  ["refused connection", serverError("ECONNREFUSED"), "outage"],
  ["a table that is not there", serverError("42P01"), "outage"],
  ["no permission", serverError("42501"), "outage"],
  ["anything else", new IngestFailure(new Error("?"), false), "outage"],
];

test.each(cases)("%s", (_, error, kind) => {
  expect(kindOfFailure(error)).toBe(kind);
});

test("a device is told the database's reason, in bounds", () => {
  expect(describeBadRow(serverError("22021"))).toBe("cannot be stored: server says no");
  const long = new IngestFailure(new Error("x".repeat(5_000)), false);
  expect(describeBadRow(long)).toHaveLength(200);
});
