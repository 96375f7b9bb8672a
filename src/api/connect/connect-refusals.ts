import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import type { FastifyReply, FastifyRequest } from "fastify";
import { OtaError } from "../../errors.ts";
import { errorDetailRegistry, httpStatusOf, jsonType } from "../http/http-call.ts";
import { nothingAt } from "../http/unrouted-requests.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";
import { type Failure, statusBytes } from "../pipeline/failure.ts";
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
  const taken = isUnary ? unaryTypeNames : streamTypeNames;
  void reply.header("accept-post", taken.join(", "));
  return unsupported(`the media type must be one of ${taken.join(", ")}`);
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

function unsupported(text: string): OtaError {
  return new OtaError("invalid_argument", "INVALID_REQUEST", text, { metadata: { httpStatus: "415" } });
}

/** An answer of gRPC-Web that is nothing but trailers (PROTOCOL-WEB.md). */
function trailersOf(failure: Failure): Buffer {
  const { code, status } = failure;
  const text = [
    `grpc-status: ${code.number}`,
    `grpc-message: ${encodeURIComponent(status.message)}`,
    `grpc-status-details-bin: ${Buffer.from(statusBytes(failure)).toString("base64")}`,
    "",
  ].join("\r\n");
  const frame = Buffer.alloc(5 + Buffer.byteLength(text));
  frame.writeUInt8(trailersFlag, 0);
  frame.writeUInt32BE(frame.length - 5, 1);
  frame.write(text, 5);
  return frame;
}

const trailersFlag = 0x80;
