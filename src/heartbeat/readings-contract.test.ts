import type { DescField } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { HeartbeatSchema } from "../../gen/ota/v1/heartbeat_pb.js";
import { readings } from "../device/state/readings.ts";
import { severities } from "../device/state/severity.ts";
import { heartbeatFields } from "./heartbeat-fields.ts";

describe("the table of readings, held against the contract", () => {
  it.each(readings.map((reading) => [reading.field, reading] as const))(
    "%s is of its kind",
    (path, reading) => {
      const field = fieldAt(path);
      expect(typeOf(field)).toBe(contractTypes[reading.kind]);
      expect(wordsOf(field)).toEqual(reading.values);
    },
  );

  it("leaves no field of a heartbeat out, and keeps their order", () => {
    expect(heartbeatFields).toEqual(HeartbeatSchema.fields.map(({ name }) => name));
  });

  it("has a name and a column for each of them alone", () => {
    for (const key of ["name", "column", "field"] as const)
      expect(new Set(readings.map((reading) => reading[key])).size).toBe(readings.length);
  });
});

it("severities are those of the contract, in its order", () => {
  expect(wordsOf(fieldAt("errors.severity"))).toEqual(severities.slice(1));
});

const contractTypes: Readonly<Record<(typeof readings)[number]["kind"], string>> = {
  real: "FLOAT",
  double: "DOUBLE",
  smallint: "SINT32",
  count: "UINT64",
  flag: "BOOL",
  text: "STRING",
  time: "google.protobuf.Timestamp",
  choice: "enum",
};

function fieldAt(path: string): DescField | undefined {
  let found: DescField | undefined;
  let fields: readonly DescField[] | undefined = HeartbeatSchema.fields;
  for (const part of path.split(".")) {
    found = fields?.find(({ name }) => name === part);
    fields = found?.message?.fields;
  }
  return found;
}

function typeOf(field: DescField | undefined): string | undefined {
  if (field?.enum !== undefined) return "enum";
  return field?.scalar === undefined ? field?.message?.typeName : ScalarType[field.scalar];
}

/** The values of an enum in their order, without the one that stands for none. */
function wordsOf(field: DescField | undefined): string[] | undefined {
  return field?.enum?.values.filter(({ number }) => number > 0).map(({ localName }) => localName);
}
