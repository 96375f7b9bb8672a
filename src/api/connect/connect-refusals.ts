import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import type { FastifyReply, FastifyRequest } from "fastify";
import { OtaError } from "../../errors.ts";
import { errorDetailRegistry, httpStatusOf, jsonType } from "../http/http-call.ts";
import { nothingAt } from "../http/unrouted-requests.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";
import { type Failure, statusText } from "../pipeline/failure.ts";
import { methodName } from "../pipeline/pipeline.ts";
import { toConnectError } from "./connect-error.ts";

/** Whether a path has the form of an RPC's: a service's full name, which has a dot, and a method. */
export function isRpcPath(path: string): boolean {
  const [, service = "", method = "", ...more] = path.split("/");
  return service.includes(".") && method !== "" && more.length === 0;
}

/**
 * Why a request cannot be a call of this RPC, by method and media type: Connect itself answers both with a bare status. Puts into the
 * answer what the RPC does take (RFC 9110, sections 15.5.6 and 15.5.16).
 */
export function unfitForRpc(
  request: FastifyRequest,
  reply: FastifyReply,
  endpoint: Endpoint,
): OtaError | undefined {
  if (endpoint.kind === "bidi_stream") return needsHttp2(endpoint);
  const methods = methodsOf(endpoint);
  if (!methods.includes(request.method)) return nothingAt(request, reply, methods);
  const isUnary = endpoint.kind === "unary";
  if (request.method === "GET") {
    const { encoding } = request.query as { encoding?: unknown };
    if (encoding === "json" || encoding === "proto") return undefined;
    return unsupported("a call by GET needs `encoding=json` or `encoding=proto` in its query");
  }
  const type = request.headers["content-type"] ?? "";
  if ((isUnary ? unaryTypes : streamTypes).test(type)) return undefined;
  // As at the gRPC port: it is gRPC, in a format that is not read here.
  if (/^application\/grpc-web\+/i.test(type))
    return unimplemented("messages are read in protobuf or JSON alone");
  const taken = isUnary ? unaryTypeNames : streamTypeNames;
  void reply.header("accept-post", taken.join(", "));
  return unsupported(`the media type must be one of ${taken.join(", ")}`);
}

/** There is no such RPC: a 404 whose code is the one that every protocol has for it. */
export function noSuchRpc(path: string): OtaError {
  return unimplemented(`the service has no method ${path}`, { path, httpStatus: "404" });
}

/** Answers with a failure in the form of the protocol that the request speaks: gRPC-Web in trailers, Connect in JSON. */
export function sendRpcFailure(request: FastifyRequest, reply: FastifyReply, failure: Failure): FastifyReply {
  void reply.header("cache-control", "no-store");
  if (/^application\/grpc-web(?!-text)/.test(request.headers["content-type"] ?? "")) {
    return reply.code(200).type("application/grpc-web+proto").send(trailersOf(failure));
  }
  const json = errorToJson(toConnectError(failure), { registry: errorDetailRegistry });
  return reply.code(httpStatusOf(failure)).type(jsonType).send(JSON.stringify(json));
}

/** A stream both ways cannot be had by HTTP/1.1, and Connect says so with a bare status. */
function needsHttp2(endpoint: Endpoint): OtaError {
  const text = `${methodName(endpoint)} streams both ways: call it by gRPC, at the gRPC port`;
  return unimplemented(text, { httpStatus: "505" });
}

function methodsOf({ kind, method }: Endpoint): readonly string[] {
  const isRead = kind === "unary" && method.idempotency === Idempotency.NO_SIDE_EFFECTS;
  return isRead ? ["GET", "POST"] : ["POST"];
}

const unaryTypes = /^application\/(?:json|proto|grpc-web(?:\+(?:json|proto))?)\s*(?:;|$)/i;
const unaryTypeNames = ["application/proto", "application/json", "application/grpc-web+proto"];
const streamTypes = /^application\/(?:connect\+(?:json|proto)|grpc-web(?:\+(?:json|proto))?)\s*(?:;|$)/i;
const streamTypeNames = [
  "application/connect+proto",
  "application/connect+json",
  "application/grpc-web+proto",
];

function unimplemented(text: string, metadata: Readonly<Record<string, string>> = {}): OtaError {
  return new OtaError("unimplemented", "UNIMPLEMENTED", text, { metadata });
}

function unsupported(text: string): OtaError {
  return new OtaError("invalid_argument", "INVALID_REQUEST", text, { metadata: { httpStatus: "415" } });
}

/** An answer of gRPC-Web that is nothing but trailers (PROTOCOL-WEB.md). */
function trailersOf(failure: Failure): Buffer {
  const { code, status } = failure;
  const text = [
    `grpc-status: ${code.number}`,
    `grpc-message: ${encodeURIComponent(status.message)}`,
    `grpc-status-details-bin: ${statusText(failure)}`,
    "",
  ].join("\r\n");
  const frame = Buffer.alloc(5 + Buffer.byteLength(text));
  frame.writeUInt8(trailersFlag, 0);
  frame.writeUInt32BE(frame.length - 5, 1);
  frame.write(text, 5);
  return frame;
}

const trailersFlag = 0x80;
