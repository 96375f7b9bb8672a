import { OtaError } from "../../errors.ts";
import { retry } from "../back-off.ts";

/**
 * An outage of the database as the error that clients see: UNAVAILABLE, to be tried again in a second. Undefined for
 * whatever is not an outage. Looks through causes, so an error that a library wrapped is recognised too.
 */
export function asDatabaseError(error: unknown): OtaError | undefined {
  for (const failure of withCauses(error)) {
    if (failure instanceof OtaError) return undefined;
    if (!isOutage(failure)) continue;
    const state = outageStates.get(codeOf(failure) ?? messageOf(failure)) ?? "is not available";
    return new OtaError("unavailable", "DATABASE_UNAVAILABLE", `the database ${state}`, {
      retryAfterMs: outageRetryMs,
      cause: error,
    });
  }
  return undefined;
}

/**
 * Whether the whole transaction may be run again and is likely to pass: a deadlock or a serialization failure, in
 * which PostgreSQL chose this transaction as the one to give way.
 */
export function isRetryable(error: unknown): boolean {
  return withCauses(error).some((failure) => retryableStates.has(codeOf(failure) ?? ""));
}

/**
 * Whether a write failed for what is in a row: a value that the database refuses or that could not even be encoded. The
 * same row fails always; others of its batch may be stored without it.
 */
export function isDataError(error: unknown): boolean {
  return withCauses(error).some((failure) => {
    const code = codeOf(failure);
    if (isMalformedValue(failure)) return true;
    if (code !== undefined && sqlState.test(code)) return dataErrorClasses.has(code.slice(0, 2));
    return failure instanceof RangeError || failure instanceof TypeError;
  });
}

/** How {@link withRetry} retries. */
export interface RetryOptions {
  /** Runs in all, the first included. */
  readonly attempts: number;
  /** Ends the pauses between runs. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a whole transaction, again while it fails as {@link isRetryable} says. `run` must begin the transaction itself.
 * Throws the last failure.
 */
export async function withRetry<T>(run: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts, signal } = options;
  // Random waits, so that two transactions that stopped each other do not meet again.
  return await retry(run, {
    baseMs: retryPauseMs,
    capMs: maxRetryPauseMs,
    attempts,
    signal,
    isWorthRetrying: isRetryable,
  });
}

/** The name of the unique constraint or index that a write violated; undefined if the failure is another. */
export function uniqueViolation(error: unknown): string | undefined {
  for (const failure of withCauses(error)) {
    if (codeOf(failure) !== "23505") continue;
    const { constraint } = failure as { constraint?: unknown };
    return typeof constraint === "string" ? constraint : "";
  }
  return undefined;
}

const outageRetryMs = 1_000;
const retryPauseMs = 10;
const maxRetryPauseMs = 200;

/**
 * Whether PostgreSQL could not read a message of the protocol for a value in it, such as a text with NUL, and goes on with
 * the connection. A FATAL protocol violation, as poolers send it, is the end of the connection.
 */
function isMalformedValue(failure: unknown): boolean {
  return codeOf(failure) === "08P01" && (failure as { severity?: unknown }).severity === "ERROR";
}

const sqlState = /^[0-9A-Z]{5}$/;

/** Data exception, integrity constraint violation, program limit exceeded (a value too large). */
const dataErrorClasses = new Set(["22", "23", "54"]);

/** serialization_failure, deadlock_detected */
const retryableStates = new Set(["40001", "40P01"]);

/** SQLSTATE and Node codes that say that the database cannot serve, whatever it is asked. */
const outageCodes = new Set([
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
  "53100", // disk_full
  "53200", // out_of_memory
  "53300", // too_many_connections
  "53400", // configuration_limit_exceeded: temp_file_limit
  "25006", // read_only_sql_transaction: a standby, or a failover on its way
  "25P03", // idle_in_transaction_session_timeout: the session is gone
  "55P03", // lock_not_available: lock_timeout ran out
  "57014", // query_canceled: statement_timeout ran out
  "58030", // io_error
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

const connectCodes = new Set(["ENOENT", "EMFILE", "ENFILE"]);

/** What pg says when no connection of the pool comes free in time, or none is made. */
const noConnection = "timeout exceeded when trying to connect";

/** What is to be said of an outage, where the code or the words tell more than that there is one. */
const outageStates: ReadonlyMap<string, string> = new Map([
  ["53100", "has no room left on its disk"],
  ["53200", "has no memory left"],
  ["53300", "takes no more connections"],
  ["53400", "has no room left for temporary files"],
  ["25006", "is read-only, as a standby is"],
  ["ENOTFOUND", "has a host name that does not resolve"],
  ["EAI_AGAIN", "has a host name that cannot be resolved at the moment"],
  ["EMFILE", "cannot be connected to: the service may open no more files"],
  ["ENFILE", "cannot be connected to: the machine may open no more files"],
  [noConnection, "gave no connection in time"],
]);

/** pg reports these without a code. */
const outageMessages = [
  noConnection,
  "timeout expired",
  "Connection terminated",
  "Query read timeout",
  "Client has encountered a connection error",
  "Client was closed and is not queryable",
  "Cannot use a pool after calling end on the pool",
];

const maxCauses = 8;

function isOutage(failure: unknown): boolean {
  const code = codeOf(failure);
  // Class 08: connection exceptions.
  if (code !== undefined && (outageCodes.has(code) || /^08...$/.test(code)))
    return !isMalformedValue(failure);
  // A missing socket file, or no file descriptor left for a socket; with other files the system call is another one.
  if (connectCodes.has(code ?? "") && (failure as { syscall?: unknown }).syscall === "connect") return true;
  if (!(failure instanceof Error)) return false;
  return outageMessages.some((text) => failure.message.startsWith(text));
}

function messageOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : "";
}

function codeOf(failure: unknown): string | undefined {
  if (typeof failure !== "object" || failure === null) return undefined;
  const { code } = failure as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** The error, the errors that caused it and, for a connection tried at several addresses, the failure of each. */
function withCauses(error: unknown): unknown[] {
  const found: unknown[] = [];
  const open: unknown[] = [error];
  while (open.length > 0 && found.length < maxCauses) {
    const failure = open.shift();
    if (failure === undefined || failure === null || found.includes(failure)) continue;
    found.push(failure);
    if (failure instanceof Error) open.push(failure.cause);
    if (failure instanceof AggregateError) open.push(...(failure.errors as unknown[]));
  }
  return found;
}
