import type { Socket } from "node:net";
import { createRegistry, toJson } from "@bufbuild/protobuf";
import type { FastifyReply, FastifyRequest } from "fastify";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.js";
import type { ShownCertificate } from "../../call/client-certificate.ts";
import { OtaError } from "../../errors.ts";
import type { Call, CallOrigin } from "../pipeline/call.ts";
import type { Door } from "../pipeline/endpoint.ts";
import type { Failure } from "../pipeline/failure.ts";
import {
  maxPublicMessageBytes,
  type PendingRequest,
  type PendingRequests,
  publicMessageTooLarge,
} from "../pipeline/pending-requests.ts";
import type { Route } from "../pipeline/pipeline.ts";
import { certificateOf } from "../tls/port-tls.ts";
import { rememberCaller } from "./answer-watch.ts";

/**
 * Hears of connections whose caller may make a call, before its body is read and its answer written: both may take longer than
 * a stranger's connection may stay open.
 */
export type LetIn = (connection: Socket) => void;

/** Begins a call that came by HTTP; it is aborted when the client goes away before the answer was sent. */
export function openHttpCall(route: Route, door: Door, request: FastifyRequest, reply: FastifyReply): Call {
  const call = route.open(new HttpOrigin(door, request));
  rememberCaller(request, call);
  void reply.header("x-request-id", call.requestId);
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) call.abort(clientGone());
  });
  if (isGone(request)) call.abort(clientGone());
  return call;
}

/**
 * Counts the bytes of a request's body while it is on its way. `refused` hears why it may not go on, at once or later. The
 * caller ends it when the body is there.
 */
export function pendingBody(
  pending: PendingRequests,
  { raw, headers }: FastifyRequest,
  { call, route }: { readonly call: Call; readonly route: Route },
  refused: (reason: Error) => void,
): PendingRequest {
  const body = pending.begin({ identity: call.identity, peer: call.peer, abort: refused });
  raw.once("close", () => body.end());
  const most = route.target.access.public === true ? maxPublicMessageBytes : Number.POSITIVE_INFINITY;
  let received = 0;
  const count = (bytes: number) => {
    received += bytes;
    if (received > most) body.refuse(publicMessageTooLarge());
    else body.grow(bytes);
  };
  if (Number(headers["content-length"] ?? 0) > most) body.refuse(publicMessageTooLarge());
  count(raw.readableLength);
  // A listener for `data` would let the body flow before anybody reads it.
  const push = raw.push.bind(raw);
  raw.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
    if (chunk !== null) count(chunk.length);
    return push(chunk, encoding);
  };
  return body;
}

/** Whether the client went away before anybody listened for that: nothing tells of it any more. */
export function isGone({ raw }: FastifyRequest): boolean {
  return raw.socket.destroyed;
}

/** Answers with a failure as google.rpc.Status JSON under the HTTP status of its code (AIP-193). */
export function sendFailure(
  reply: FastifyReply,
  failure: Failure,
  httpStatus = httpStatusOf(failure),
): FastifyReply {
  const { error, status } = failure;
  if (error.retryAfterMs !== undefined) {
    void reply.header("retry-after", String(Math.ceil(error.retryAfterMs / 1_000)));
  }
  // RFC 9110, section 15.5.2: a 401 names the scheme.
  if (httpStatus === 401) void reply.header("www-authenticate", "Bearer");
  const json = toJson(StatusSchema, status, { registry: errorDetailRegistry });
  return reply.code(httpStatus).type(jsonType).header("cache-control", "no-store").send(JSON.stringify(json));
}

/** The media type of JSON answers. */
export const jsonType = "application/json; charset=utf-8";

/** The types in error details, so that they can be written as JSON. */
export const errorDetailRegistry = createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema);

/** The client closed the connection before it had its answer. */
export function clientGone(): OtaError {
  return new OtaError("cancelled", "CANCELLED", "the client went away");
}

/** What Fastify itself refuses (size, media type, broken URL) as one of our errors; undefined for anything else. */
export function asHttpError(thrown: unknown): OtaError | undefined {
  const { statusCode, code } = (thrown ?? {}) as { statusCode?: unknown; code?: unknown };
  if (typeof code !== "string" || !code.startsWith("FST_")) return undefined;
  switch (statusCode) {
    case 413:
      return new OtaError("resource_exhausted", "MESSAGE_TOO_LARGE", "the request body is too large", {
        metadata: { httpStatus: "413" },
      });
    case 415:
      return unsupportedMediaType();
    case 400:
      return new OtaError("invalid_argument", "INVALID_REQUEST", "the request is malformed");
    default:
      return undefined;
  }
}

/** INVALID_ARGUMENT that REST clients see as 415. */
export function unsupportedMediaType(): OtaError {
  return new OtaError(
    "invalid_argument",
    "INVALID_REQUEST",
    "the body must be JSON: send it with the header `content-type: application/json`",
    { metadata: { httpStatus: "415" } },
  );
}

/** Refuses a body in a coding that is not read here, and names those that are (RFC 9110, section 15.5.16). */
export function requireKnownEncoding(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  known: readonly string[],
): void {
  const encoding = headers["content-encoding"]?.toLowerCase();
  if (encoding === undefined || known.includes(encoding)) return;
  const names = known.join(", ");
  void reply.header("accept-encoding", names);
  throw new OtaError("invalid_argument", "INVALID_REQUEST", `the body's encoding must be one of ${names}`, {
    metadata: { httpStatus: "415" },
  });
}

/** HTTP knows some failures more precisely than the canonical codes do; they carry their status in `metadata`. */
export function httpStatusOf({ error, code }: Failure): number {
  const precise = error.metadata["httpStatus"];
  return precise === undefined ? code.http : Number(precise);
}

class HttpOrigin implements CallOrigin {
  readonly door: Door;
  readonly authorization: string | undefined;
  readonly certificate: ShownCertificate | undefined;
  readonly requestId: string | undefined;
  readonly #peer: string;
  readonly #traceparent: string | undefined;

  constructor(door: Door, request: FastifyRequest) {
    this.door = door;
    this.authorization = request.headers.authorization;
    this.certificate = certificateOf(request.raw.socket);
    const requestId = request.headers["x-request-id"];
    this.requestId = typeof requestId === "string" ? requestId : undefined;
    const traceparent = request.headers["traceparent"];
    this.#traceparent = typeof traceparent === "string" ? traceparent : undefined;
    // Cannot be asked for any more when the client has gone.
    this.#peer = request.ip;
  }

  getPeer(): string {
    return this.#peer;
  }

  getTraceparent(): string | undefined {
    return this.#traceparent;
  }
}
