import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, anyPack, DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "../../../gen/google/rpc/status_pb.js";
import { OtaError } from "../../errors.ts";
import type { Call } from "./call.ts";
import { type StatusCode, statusCodes } from "./status-codes.ts";

/** Turns a low-level failure into the error that clients see; undefined if it is not one that it knows. */
export type TranslateError = (error: unknown) => OtaError | undefined;

/** What a door sends when a call failed. */
export interface Failure {
  /** The error that the client is told. */
  readonly error: OtaError;
  readonly code: StatusCode;
  /** The error as google.rpc.Status with ErrorInfo and, where they apply, BadRequest and RetryInfo (AIP-193). */
  readonly status: Status;
}

/**
 * The one place where a thrown value becomes what a client sees. Errors that nobody foresaw become INTERNAL with
 * nothing but the request id: their text may hold anything.
 */
export function failureOf(thrown: unknown, call: Call, translate: TranslateError): Failure {
  const error = asOtaError(thrown, call, translate);
  const code = statusCodes[error.code];
  return { error, code, status: toStatus(error, code, call.requestId) };
}

/** The ErrorInfo domain of all errors. */
const errorDomain = "ota.device";

/** A failure's google.rpc.Status as the bytes of `grpc-status-details-bin`. */
export function statusBytes(failure: Failure): Uint8Array {
  return toBinary(StatusSchema, failure.status);
}

/** The same as text, for doors that write the header themselves. */
export function statusText(failure: Failure): string {
  return unpadded(Buffer.from(statusBytes(failure)).toString("base64"));
}

/** Base64 as it should be in headers, without the `=` at its end (gRPC over HTTP/2, "Custom-Metadata"). */
export function unpadded(base64: string): string {
  return base64.replace(/={1,2}$/, "");
}

function asOtaError(thrown: unknown, call: Call, translate: TranslateError): OtaError {
  if (thrown instanceof OtaError) return thrown;
  // Whatever a handler makes of an aborted wait, the reason for the abort is what happened.
  if (call.abortReason instanceof OtaError) return call.abortReason;
  const translated = translate(thrown);
  if (translated !== undefined) return translated;
  if (thrown instanceof Error && thrown.name === "TimeoutError") {
    return new OtaError("deadline_exceeded", "DEADLINE_EXCEEDED", "the call took too long", {
      cause: thrown,
    });
  }
  if (thrown instanceof Error && thrown.name === "AbortError") {
    return new OtaError("cancelled", "CANCELLED", "the call was cancelled", { cause: thrown });
  }
  const text = `internal error; the service's log has it under request id ${call.requestId}`;
  return new OtaError("internal", "INTERNAL", text, { cause: thrown });
}

function toStatus(error: OtaError, code: StatusCode, requestId: string): Status {
  const details: Any[] = [
    anyPack(
      ErrorInfoSchema,
      create(ErrorInfoSchema, {
        reason: error.reason,
        domain: errorDomain,
        metadata: { ...wellFormed(error.metadata), requestId },
      }),
    ),
  ];
  if (error.fields.length > 0) {
    const fieldViolations = error.fields.map(({ field, description }) => ({
      field: clientText(field),
      description: clientText(description),
    }));
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations })));
  }
  if (error.retryAfterMs !== undefined) {
    details.push(
      anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: duration(error.retryAfterMs) })),
    );
  }
  return create(StatusSchema, { code: code.number, message: clientText(error.message), details });
}

/**
 * Texts may repeat what a client sent. Lone surrogates make `encodeURI` throw inside grpc-js, and error details
 * travel in one header, which clients limit to 8 KiB and more.
 */
function clientText(text: string): string {
  return (text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength)}…`).toWellFormed();
}

const maxTextLength = 1_000;

function wellFormed(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [key, value] of Object.entries(metadata)) result[key] = clientText(value);
  return result;
}

function duration(ms: number) {
  const whole = Math.max(0, Math.ceil(ms));
  return create(DurationSchema, {
    seconds: BigInt(Math.floor(whole / 1_000)),
    nanos: (whole % 1_000) * 1_000_000,
  });
}
