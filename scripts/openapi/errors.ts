import type { DescEnum } from "@bufbuild/protobuf";
import { commentOf } from "./comments.ts";
import type { Answer, Reference, Schema } from "./document.ts";
import type { Schemas } from "./schemas.ts";

/** The schemas of errors: google.rpc.Status with its details, whose reasons are those of the contract. */
export function addErrorSchemas(schemas: Schemas, reasons: DescEnum): void {
  const prefix = "ERROR_REASON_";
  const known = reasons.values.filter(({ number }) => number !== 0);
  const reason = schemas.add("ErrorReason", {
    type: "string",
    description: [
      "Says why a call failed, for programs.",
      known.map((value) => `- \`${value.name.slice(prefix.length)}\`: ${commentOf(value)}`).join("\n"),
    ].join("\n\n"),
    enum: known.map(({ name }) => name.slice(prefix.length)),
  });
  const detail = (name: string, description: string, properties: Schema, required: readonly string[]) =>
    schemas.add(name, {
      type: "object",
      description,
      properties: { "@type": { const: `type.googleapis.com/google.rpc.${name}` }, ...properties },
      required: ["@type", ...required],
    });
  const details = [
    detail(
      "ErrorInfo",
      "Why a call failed, for programs. Every error has it.",
      {
        reason,
        domain: { const: "ota.device" },
        metadata: {
          type: "object",
          description: "What the message says in words, by name; `requestId` finds the call in the log.",
          additionalProperties: { type: "string" },
        },
      },
      ["reason", "domain", "metadata"],
    ),
    detail(
      "BadRequest",
      "The fields that are wrong.",
      {
        fieldViolations: {
          type: "array",
          minItems: 1,
          items: {
            type: "object",
            properties: {
              field: {
                type: "string",
                description: "The field's path; left out where the request as a whole is wrong.",
              },
              description: { type: "string", description: "What is wrong with it." },
            },
            required: ["description"],
          },
        },
      },
      ["fieldViolations"],
    ),
    detail(
      "RetryInfo",
      "When to try again.",
      { retryDelay: { type: "string", pattern: "^[0-9]+(\\.[0-9]{1,9})?s$" } },
      ["retryDelay"],
    ),
  ];
  schemas.add("Status", {
    type: "object",
    description: "An error, as google.rpc.Status (AIP-193).",
    properties: {
      code: { type: "integer", description: "The number of google.rpc.Code.", minimum: 1, maximum: 16 },
      message: { type: "string", description: "What is wrong, for people." },
      details: {
        type: "array",
        minItems: 1,
        contains: { $ref: "#/components/schemas/ErrorInfo" },
        items: { anyOf: details },
      },
    },
    required: ["code", "message", "details"],
  });
}

/** The answers that operations share, by name. */
export const errorAnswers: Readonly<Record<string, Answer>> = {
  InvalidArgument: error("The request breaks a rule, or is not for what there is now."),
  Unauthenticated: error("There is no credential, or none that is good.", {
    "WWW-Authenticate": { description: "`Bearer`.", schema: { type: "string" } },
  }),
  PermissionDenied: error("Whoever calls may not."),
  NotFound: error("There is no such thing."),
  TooManyRequests: error("A limit is reached.", {
    "Retry-After": { description: "After so many seconds.", schema: { type: "integer", minimum: 0 } },
  }),
  Refused: error("The request cannot be served, for the reason that it names."),
  Failed: error("The service cannot serve the request; trying again may help."),
};

/** The errors of an operation, by HTTP status. */
export function errorsOf(operation: {
  readonly isPublic: boolean;
  readonly names: boolean;
}): Readonly<Record<string, Reference>> {
  return {
    "400": reference("InvalidArgument"),
    ...(operation.isPublic ? {} : { "401": reference("Unauthenticated") }),
    ...(operation.isPublic ? {} : { "403": reference("PermissionDenied") }),
    ...(operation.names ? { "404": reference("NotFound") } : {}),
    "429": reference("TooManyRequests"),
    "4XX": reference("Refused"),
    "5XX": reference("Failed"),
  };
}

function reference(name: string): Reference {
  return { $ref: `#/components/responses/${name}` };
}

function error(description: string, headers?: Readonly<Record<string, unknown>>): Answer {
  return {
    description,
    ...(headers && { headers }),
    content: { "application/json": { schema: { $ref: "#/components/schemas/Status" } } },
  };
}
