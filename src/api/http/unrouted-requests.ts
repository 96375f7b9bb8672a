import type { Socket } from "node:net";
import { toJsonString } from "@bufbuild/protobuf";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.js";
import { OtaError } from "../../errors.ts";
import type { Failure } from "../pipeline/failure.ts";
import type { Pipeline, Route } from "../pipeline/pipeline.ts";
import { errorDetailRegistry, httpStatusOf, jsonType, openHttpCall, sendFailure } from "./http-call.ts";
import { pathOf } from "./request-target.ts";

/** Answers where there is nothing, in the form of the door to which the path would belong. */
export type AnswerNothing = (
  request: FastifyRequest,
  reply: FastifyReply,
  fail: (error: OtaError) => Failure,
) => FastifyReply;

/** Answers requests that no route takes, and those that are not even requests, as every other refusal is answered. */
export class UnroutedRequests {
  readonly #route: Route;

  constructor(pipeline: Pipeline) {
    this.#route = pipeline.route(
      { name: "unknown", access: { public: true }, rate: "page", input: undefined, streaming: false },
      "http",
    );
  }

  /** Counts a request that no route takes, and answers it. */
  async answer(request: FastifyRequest, reply: FastifyReply, answer: AnswerNothing): Promise<FastifyReply> {
    const call = openHttpCall(this.#route, "http", request, reply);
    try {
      await this.#route.admit(call);
    } catch (error) {
      return sendFailure(reply, this.#route.fail(call, error));
    }
    return answer(request, reply, (error) => this.#route.fail(call, error));
  }

  /** What Fastify refuses before it looks for a route: a path that is not validly encoded. */
  readonly malformed = (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void => {
    const call = openHttpCall(this.#route, "http", request, reply);
    const refusal = new OtaError("invalid_argument", "INVALID_REQUEST", "the path is not validly encoded", {
      cause: error,
    });
    void sendFailure(reply, this.#route.fail(call, refusal));
  };

  /**
   * What Node.js refuses while it reads a request's head: there is no request that could be answered, so the answer is written to the
   * connection, which ends with it.
   */
  readonly unreadable = (error: Error & { readonly code?: string }, socket: Socket): void => {
    // Of a request that is answered half, or by a client that has gone, nothing more can be said.
    if (error.code === "ECONNRESET" || !socket.writable || isAnswering(socket)) {
      socket.destroy();
      return;
    }
    const peer = socket.remoteAddress ?? "unknown";
    const call = this.#route.open({
      door: "http",
      authorization: undefined,
      requestId: undefined,
      getPeer: () => peer,
      getTraceparent: () => undefined,
    });
    const failure = this.#route.fail(call, refusalOf(error.code));
    const status = httpStatusOf(failure);
    const body = toJsonString(StatusSchema, failure.status, { registry: errorDetailRegistry });
    const head = [
      `HTTP/1.1 ${status} ${phrases[status] ?? "Bad Request"}`,
      `content-type: ${jsonType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${call.requestId}`,
      "cache-control: no-store",
      "connection: close",
    ];
    socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
  };
}

/** 404; or 405 with the methods that the path has, if there are any. */
export function nothingAt(
  { method, raw: { url } }: FastifyRequest,
  reply: FastifyReply,
  methods: Iterable<string>,
): OtaError {
  const path = pathOf(url);
  const allow = [...new Set(methods)].toSorted().join(", ");
  if (allow === "") {
    return new OtaError("not_found", "NOT_FOUND", `there is nothing at ${method} ${path}`, {
      metadata: { path },
    });
  }
  void reply.header("allow", allow);
  return new OtaError("unimplemented", "UNIMPLEMENTED", `${path} takes only ${allow}`, {
    metadata: { path, allow, httpStatus: "405" },
  });
}

function refusalOf(code: string | undefined): OtaError {
  const metadata = (httpStatus: number) => ({ metadata: { httpStatus: String(httpStatus) } });
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return new OtaError(
        "resource_exhausted",
        "MESSAGE_TOO_LARGE",
        "the request's headers are larger than 16 KiB",
        metadata(431),
      );
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new OtaError(
        "deadline_exceeded",
        "DEADLINE_EXCEEDED",
        "the request did not arrive in time",
        metadata(408),
      );
    case "HPE_INVALID_METHOD":
      return new OtaError("unimplemented", "UNIMPLEMENTED", "the request's method is unknown");
    default:
      return new OtaError("invalid_argument", "INVALID_REQUEST", "the request is no HTTP/1.1");
  }
}

const phrases: Readonly<Record<number, string>> = {
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
};

/** Whether an answer is on its way already. Node.js has no public way to it; a test watches that this one works. */
function isAnswering(socket: Socket): boolean {
  const { _httpMessage: answer } = socket as unknown as { _httpMessage?: { readonly headersSent: boolean } };
  return answer?.headersSent === true;
}
