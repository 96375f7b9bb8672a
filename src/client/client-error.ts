import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import type { FieldViolation } from "../errors.ts";

/** A call that failed, as the client sees it. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  /** The gRPC status code. */
  readonly code: status;
  /** The service's reason, for example `RATE_LIMITED`; empty if the failure did not come from the service. */
  readonly reason: string;
  /** The variables of the message. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Offending request fields. */
  readonly fields: readonly FieldViolation[];
  /** How long the service asks to wait before the next try, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: status,
    message: string,
    details: {
      reason?: string;
      metadata?: Readonly<Record<string, string>>;
      fields?: readonly FieldViolation[];
      retryAfterMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.metadata = details.metadata ?? {};
    this.fields = details.fields ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Whether the same call may succeed a little later without any change of what is asked. */
  get transient(): boolean {
    return (
      // Whoever signs its tokens has learned the time from this.
      this.reason === "TOKEN_TIME_WRONG" ||
      this.code === status.UNAVAILABLE ||
      this.code === status.RESOURCE_EXHAUSTED ||
      this.code === status.DEADLINE_EXCEEDED
    );
  }
}

/** The longest wait that a client lets a service ask of it, in milliseconds: longer ones would be a way to silence it. */
export const maxAskedWaitMs = 24 * 3_600_000;

/** Turns what grpc-js throws into a {@link ClientError}, with the details of `grpc-status-details-bin`. */
export function clientErrorFrom(error: unknown): ClientError {
  if (error instanceof ClientError) return error;
  if (!isServiceError(error)) {
    const message = error instanceof Error ? error.message : String(error);
    return new ClientError(status.UNKNOWN, message, { cause: error });
  }
  return new ClientError(error.code, error.details, { ...readDetails(error.metadata), cause: error });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

function readDetails(metadata: Metadata) {
  const [packed] = metadata.get("grpc-status-details-bin");
  if (!(packed instanceof Uint8Array)) return {};
  try {
    return unpackDetails(packed);
  } catch {
    // Details that cannot be read say nothing; to throw here, within the transport's callback, would end the process.
    return {};
  }
}

function unpackDetails(packed: Uint8Array) {
  let reason = "";
  let variables: Record<string, string> = {};
  let fields: FieldViolation[] = [];
  let retryAfterMs: number | undefined;
  for (const detail of fromBinary(StatusSchema, packed).details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) {
      reason = info.reason;
      variables = info.metadata;
    }
    const badRequest = anyUnpack(detail, BadRequestSchema);
    if (badRequest !== undefined) {
      fields = badRequest.fieldViolations.map(({ field, description }) => ({ field, description }));
    }
    const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) {
      const askedMs = Number(delay.seconds) * 1000 + delay.nanos / 1e6;
      retryAfterMs = Math.min(Math.max(askedMs, 0), maxAskedWaitMs);
    }
  }
  return { reason, metadata: variables, fields, retryAfterMs };
}
