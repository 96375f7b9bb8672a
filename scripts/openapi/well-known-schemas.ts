import type { DescMessage } from "@bufbuild/protobuf";
import type { Schema } from "./document.ts";

/** The schema of a message that the JSON mapping of protobuf writes in a way of its own; undefined for all others. */
export function wellKnownSchema({ typeName }: DescMessage): Schema | undefined {
  return schemas[typeName];
}

const schemas: Readonly<Record<string, Schema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  // Seconds with up to nine digits, not the durations of ISO 8601 that JSON Schema has a format for.
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$" },
  "google.protobuf.FieldMask": { type: "string", pattern: "^([A-Za-z0-9_.]+(,[A-Za-z0-9_.]+)*)?$" },
  "google.protobuf.Empty": { type: "object" },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  "google.protobuf.ListValue": { type: "array" },
  "google.protobuf.Value": {},
  "google.protobuf.Any": {
    type: "object",
    properties: { "@type": { type: "string" } },
    required: ["@type"],
    additionalProperties: true,
  },
  "google.protobuf.BoolValue": { type: ["boolean", "null"] },
  "google.protobuf.StringValue": { type: ["string", "null"] },
  "google.protobuf.BytesValue": { type: ["string", "null"], contentEncoding: "base64" },
  "google.protobuf.DoubleValue": { type: ["number", "null"] },
  "google.protobuf.FloatValue": { type: ["number", "null"] },
  "google.protobuf.Int32Value": { type: ["integer", "null"] },
  "google.protobuf.UInt32Value": { type: ["integer", "null"], minimum: 0 },
  "google.protobuf.Int64Value": { type: ["string", "null"], pattern: "^-?[0-9]{1,19}$" },
  "google.protobuf.UInt64Value": { type: ["string", "null"], pattern: "^[0-9]{1,20}$" },
};
