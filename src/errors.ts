/**
 * The one error type of the service. The domain throws it; the pipeline turns it into a gRPC status, a Connect
 * error or a REST answer (AIP-193) in one place. It knows no transport.
 */

/** The canonical codes of google.rpc.Code that the service answers with, in lower snake case. */
export type ErrorCode =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "resource_exhausted"
  | "unavailable"
  | "deadline_exceeded"
  | "cancelled"
  | "unimplemented"
  | "data_loss"
  | "internal";

/**
 * Machine-readable reasons, sent as `google.rpc.ErrorInfo.reason`. A test keeps this list equal to the values of
 * the enum `ota.v1.ErrorReason`, whose comments are the reference for client authors.
 */
export type ErrorReason =
  | "INVALID_REQUEST"
  | "INVALID_PAGE_TOKEN"
  | "INVALID_FILTER"
  | "INVALID_VERSION"
  | "INVALID_MANIFEST"
  | "REQUEST_ID_REUSED"
  | "CREDENTIAL_MISSING"
  | "CREDENTIAL_INVALID"
  | "CREDENTIAL_EXPIRED"
  | "CREDENTIAL_REVOKED"
  | "ROLE_REQUIRED"
  | "NOT_YOUR_DEVICE"
  | "ENROLMENT_KEY_INVALID"
  | "ENROLMENT_KEY_EXHAUSTED"
  | "NOT_FOUND"
  | "DUPLICATE"
  | "FIRMWARE_IMMUTABLE"
  | "FIRMWARE_IN_USE"
  | "FIRMWARE_NOT_READY"
  | "FIRMWARE_NOT_SIGNED"
  | "FIRMWARE_EXPIRED"
  | "SIGNATURE_INVALID"
  | "SIGNING_KEY_UNKNOWN"
  | "SIGNING_KEY_REVOKED"
  | "SIZE_MISMATCH"
  | "DIGEST_MISMATCH"
  | "UPLOAD_OFFSET_MISMATCH"
  | "UPLOAD_INCOMPLETE"
  | "OFFSET_OUT_OF_RANGE"
  | "NOT_OFFERED"
  | "ILLEGAL_TRANSITION"
  | "UNKNOWN_RING"
  | "ROLLBACK_TARGET_MISSING"
  | "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER"
  | "STREAM_SUPERSEDED"
  | "HELLO_REQUIRED"
  | "STALE_EPOCH"
  | "RATE_LIMITED"
  | "QUEUE_FULL"
  | "MESSAGE_TOO_LARGE"
  | "TOO_MANY_STREAMS"
  | "DATABASE_UNAVAILABLE"
  | "STORAGE_UNAVAILABLE"
  | "STORAGE_FULL"
  | "STORED_OBJECT_CORRUPT"
  | "SHUTTING_DOWN"
  | "CANCELLED"
  | "DEADLINE_EXCEEDED"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "FOUR_EYES"
  | "ROLLBACK_TARGET_REFUSED"
  | "COUNT_MISMATCH"
  | "CROSS_SITE_REQUEST"
  | "NOTHING_TO_DO"
  | "ROLLOUT_DIFFERS"
  | "FIRMWARE_RECALLED"
  | "ROLLBACK_TARGET_RECALLED"
  | "LAST_ADMINISTRATOR"
  | "DEVICE_RETIRED"
  | "DEVICE_BLOCKED"
  | "TOKEN_TIME_WRONG"
  | "NO_TOKEN"
  | "KEY_PROOF_INVALID"
  | "CERTIFICATE_INVALID"
  | "CERTIFICATE_UNKNOWN"
  | "CALLERS_DIFFER"
  | "OUT_OF_SCOPE"
  | "OIDC_ROLE_MISSING"
  | "OIDC_LIMITS_MISSING"
  | "OIDC_LIMITS_AMBIGUOUS"
  | "OIDC_ISSUER_UNAVAILABLE"
  | "PERSON_DISABLED"
  | "OIDC_SIGN_IN_FAILED"
  | "SERIAL_NUMBER_NOT_ALLOWED"
  | "TOO_MANY_DEVICES"
  | "SIGNING_KEY_EXPIRED"
  | "INVALID_ATTACHMENT"
  | "TOO_MANY_ATTACHMENTS"
  | "TUF_METADATA_INVALID"
  | "TUF_SIGNATURES_MISSING"
  | "TUF_VERSION_CONFLICT"
  | "CURSOR_EXPIRED"
  | "WEBHOOK_URL_REFUSED"
  | "TOO_MANY_WEBHOOKS"
  | "ETAG_MISMATCH"
  | "EMAIL_NOT_SET_UP"
  | "FIRMWARE_DAMAGED"
  | "DEVICE_KNOWN";

/** One offending field of a request: its path in the request message and what is wrong with it. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** What an {@link OtaError} carries beside code, reason and message. */
export interface ErrorDetails {
  /** Every variable part of the message again, for programs (AIP-193). */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Offending request fields, sent as `google.rpc.BadRequest`. */
  readonly fields?: readonly FieldViolation[];
  /** How long the caller should wait before it tries again, sent as `google.rpc.RetryInfo`. */
  readonly retryAfterMs?: number;
  /** The low-level failure, kept for the log and never sent to a client. */
  readonly cause?: unknown;
}

/** A failure that a caller can act on. `message` is shown to clients: no secrets, no internals. */
export class OtaError extends Error {
  override readonly name = "OtaError";
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fields: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, reason: ErrorReason, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = reason;
    this.metadata = details.metadata ?? {};
    this.fields = details.fields ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** `INVALID_ARGUMENT` for one field of the request. */
export function invalidArgument(
  field: string,
  description: string,
  reason: ErrorReason = "INVALID_REQUEST",
): OtaError {
  return new OtaError("invalid_argument", reason, `${field}: ${description}`, {
    fields: [{ field, description }],
    metadata: { field },
  });
}

/** `NOT_FOUND` for a resource that an operator asked for by id. */
export function notFound(resource: string, id: string): OtaError {
  return new OtaError("not_found", "NOT_FOUND", `${resource} ${id} does not exist`, {
    metadata: { resource, id },
  });
}

/** `FAILED_PRECONDITION` for a verb that the resource's state does not allow; names the state and what is allowed. */
export function illegalTransition(
  resource: string,
  verb: string,
  state: string,
  allowed: readonly string[],
): OtaError {
  const options = allowed.length === 0 ? "nothing more" : allowed.join(", ");
  return new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `cannot ${verb} a ${resource} that is ${state}; allowed now: ${options}`,
    { metadata: { resource, verb, state, allowed: allowed.join(",") } },
  );
}

/** `FAILED_PRECONDITION` for a verb that has nothing to do it on; the words say what is, and what would have to be true. */
export function nothingToDo(words: string, metadata: Readonly<Record<string, string>>): OtaError {
  return new OtaError("failed_precondition", "NOTHING_TO_DO", words, { metadata });
}
