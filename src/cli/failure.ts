import { status } from "@grpc/grpc-js";
import { CommanderError } from "commander";
import { ClientError } from "../client/client-error.ts";
import { OtaError } from "../errors.ts";
import { cleanText } from "./format.ts";

/** What the command line's exit codes mean. They are part of its interface: scripts branch on them. */
export const exitCodes = {
  ok: 0,
  /** Something went wrong that no other code names. */
  failure: 1,
  /** The command line, or the request that was made from it, is wrong. */
  usage: 2,
  /** What was named does not exist. */
  notFound: 3,
  /** No credential, a wrong one, or one that does not allow this. */
  denied: 4,
  /** The state of things does not allow this now, or it exists already. */
  precondition: 5,
  /** The service cannot be reached or is overloaded: try again. */
  unavailable: 6,
  /** Ended by Ctrl-C or SIGTERM, as shells write it. */
  interrupted: 130,
} as const;

/** A fault of the command line's own, with its exit code. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  /** What to try, in words. */
  readonly hint: string | undefined;

  constructor(exitCode: number, message: string, hint?: string) {
    super(message);
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

/** What the service always answers with, for example `a device`; throws with words if it did not. */
export function required<T>(record: T | undefined, what: string): T {
  if (record === undefined) throw new CliError(exitCodes.failure, `the service answered without ${what}`);
  return record;
}

/** A failure, ready to be shown. */
export interface Failure {
  readonly exitCode: number;
  readonly message: string;
  /** The service's reason, for example `ILLEGAL_TRANSITION`; empty if the failure is not the service's. */
  readonly reason: string;
  readonly fields: readonly { readonly field: string; readonly description: string }[];
  /** Under which the service logged the call; empty if it is unknown. */
  readonly requestId: string;
  readonly hint: string | undefined;
}

/** Describes whatever was thrown. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof ClientError) return describeClientError(error);
  if (error instanceof OtaError) {
    return {
      ...nothingKnown,
      exitCode: OTA_EXIT_CODES[error.code] ?? exitCodes.failure,
      message: error.message,
      reason: error.reason,
      fields: error.fields,
    };
  }
  if (error instanceof CommanderError) {
    return { ...nothingKnown, exitCode: commanderExitCode(error), message: error.message };
  }
  if (error instanceof CliError) {
    return { ...nothingKnown, exitCode: error.exitCode, message: error.message, hint: error.hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (isMissingFile(error)) return { ...nothingKnown, exitCode: exitCodes.usage, message };
  // Node.js and grpc-js put the same words around it.
  const taken = /EADDRINUSE: address already in use ([^\s\]]+)/.exec(message)?.[1];
  if (taken !== undefined) return { ...nothingKnown, exitCode: exitCodes.failure, message: portTaken(taken) };
  return { ...nothingKnown, exitCode: exitCodes.failure, message };
}

function portTaken(address: string): string {
  return (
    `another program listens on ${address}: stop it, or choose other ports with --http-port and --grpc-port ` +
    "(0 takes a free one)"
  );
}

/** One line: what went wrong, then reason, fields and request id; a hint follows on a line of its own. */
export function failureText(failure: Failure): string {
  const { message, reason, fields, requestId, hint } = failure;
  // A message that starts with its only field says it all already.
  const extra = fields.filter(({ field, description }) => !message.includes(`${field}: ${description}`));
  const details = [
    reason,
    ...extra.map(({ field, description }) => `${field}: ${description}`),
    requestId === "" ? "" : `request ${requestId}`,
  ].filter((detail) => detail !== "");
  const line = `device-ota: ${message}${details.length === 0 ? "" : ` (${details.join("; ")})`}`;
  return hint === undefined ? cleanText(line) : `${cleanText(line)}\n${hint}`;
}

/** The same as one JSON object, for scripts. */
export function failureJson(failure: Failure): string {
  const { exitCode, message, reason, fields, requestId } = failure;
  return JSON.stringify({ error: { exitCode, message, reason, fields, requestId } });
}

const nothingKnown = { reason: "", fields: [], requestId: "", hint: undefined } as const;

function describeClientError(error: ClientError): Failure {
  return {
    exitCode: GRPC_EXIT_CODES[error.code] ?? exitCodes.failure,
    message: messageOf(error),
    reason: error.reason === "" ? (status[error.code] ?? "") : error.reason,
    fields: error.fields,
    requestId: error.metadata["requestId"] ?? "",
    hint: hintOf(error),
  };
}

function messageOf(error: ClientError): string {
  // The transport buries the one useful part of a failed connection in its own words.
  const refused = error.reason === "" ? /connect E\w+ [^\s,]+?(?=[.,]?(?:\s|$))/.exec(error.message) : null;
  if (refused !== null) return `cannot reach the service: ${refused[0]}`;
  return error.message === "" ? `the call failed with ${status[error.code]}` : error.message;
}

function hintOf(error: ClientError): string | undefined {
  if (error.reason === "CREDENTIAL_MISSING") {
    return "Set DEVICE_OTA_TOKEN or --token to an operator's token. The service shows one at its first start.";
  }
  if (error.code === status.UNAVAILABLE && error.reason === "") {
    return "Is the service running there? Start one with `device-ota serve`, or name another with --server.";
  }
  return undefined;
}

function commanderExitCode(error: CommanderError): number {
  return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
}

function isMissingFile(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "EISDIR" || code === "EACCES";
}

const GRPC_EXIT_CODES: Readonly<Partial<Record<status, number>>> = {
  [status.INVALID_ARGUMENT]: exitCodes.usage,
  [status.OUT_OF_RANGE]: exitCodes.usage,
  [status.NOT_FOUND]: exitCodes.notFound,
  [status.UNAUTHENTICATED]: exitCodes.denied,
  [status.PERMISSION_DENIED]: exitCodes.denied,
  [status.FAILED_PRECONDITION]: exitCodes.precondition,
  [status.ABORTED]: exitCodes.precondition,
  [status.ALREADY_EXISTS]: exitCodes.precondition,
  [status.UNAVAILABLE]: exitCodes.unavailable,
  [status.DEADLINE_EXCEEDED]: exitCodes.unavailable,
  [status.RESOURCE_EXHAUSTED]: exitCodes.unavailable,
  [status.CANCELLED]: exitCodes.interrupted,
};

const OTA_EXIT_CODES: Readonly<Record<string, number>> = {
  invalid_argument: exitCodes.usage,
  out_of_range: exitCodes.usage,
  not_found: exitCodes.notFound,
  unauthenticated: exitCodes.denied,
  permission_denied: exitCodes.denied,
  failed_precondition: exitCodes.precondition,
  aborted: exitCodes.precondition,
  already_exists: exitCodes.precondition,
  unavailable: exitCodes.unavailable,
  deadline_exceeded: exitCodes.unavailable,
  resource_exhausted: exitCodes.unavailable,
};
