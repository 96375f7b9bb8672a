import { constants, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { OtaError } from "../../errors.ts";
import { boundTimeout } from "../pipeline/client-timeout.ts";
import { type Failure, statusText } from "../pipeline/failure.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";

/** What answers calls that cannot be served. */
export interface UnfitCallsParts {
  readonly pipeline: Pipeline;
  /** What may be called, by path. */
  readonly methods: ReadonlyMap<string, unknown>;
  /** Hears of each that was refused. */
  readonly refused: (stream: ServerHttp2Stream) => void;
}

/**
 * Looks at the headers of each call before grpc-js does, which answers what is wrong with them by a bare status, reads
 * `application/grpc+json` as if it were binary, and takes `1234567890S` for a time-out. What the rules are is in PROTOCOL-HTTP2.md of
 * gRPC. There is no public way to stand before grpc-js; tests watch that this one works.
 */
export function refuseUnfitCalls(server: Http2Server, { pipeline, methods, refused }: UnfitCallsParts): void {
  const route = pipeline.route(
    { name: "unknown", access: { public: true }, rate: "page", input: undefined, streaming: false },
    "grpc",
  );
  const serve = server.listeners("stream") as ((
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
  ) => void)[];
  server.removeAllListeners("stream");
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const refusal = refusalOf(headers, methods);
    if (refusal === undefined) {
      boundTimeout(headers);
      for (const listener of serve) listener(stream, headers);
      return;
    }
    // Its client may go away before it has its answer.
    stream.on("error", () => {});
    const peer = stream.session?.socket.remoteAddress ?? "unknown";
    const requestId = headers["x-request-id"];
    const call = route.open({
      door: "grpc",
      authorization: undefined,
      requestId: typeof requestId === "string" ? requestId : undefined,
      getPeer: () => peer,
      getTraceparent: () => undefined,
    });
    const answer = {
      ...answerOf(route.fail(call, refusal.error)),
      ...refusal.headers,
      "x-request-id": call.requestId,
    };
    stream.respond(answer, { endStream: true });
    // Nothing of the request is wanted (RFC 9113, section 8.1).
    stream.close(constants.NGHTTP2_NO_ERROR);
    refused(stream);
  });
}

interface Refusal {
  readonly error: OtaError;
  /** Beside what every refusal has, or instead of it. */
  readonly headers?: Readonly<Record<string, string | number>>;
}

function refusalOf(headers: IncomingHttpHeaders, methods: ReadonlyMap<string, unknown>): Refusal | undefined {
  const { ":method": method, ":path": path = "", "content-type": type = "" } = headers;
  if (!/^application\/grpc(?:[+;]|$)/i.test(type)) {
    // A status of HTTP, so that whoever does not speak gRPC takes it for none.
    return { error: invalid("the media type is not application/grpc"), headers: { ":status": 415 } };
  }
  if (method !== "POST") {
    return { error: unimplemented("a call is a POST"), headers: { ":status": 405, allow: "POST" } };
  }
  if (!/^application\/grpc(?:\+proto)?\s*(?:;|$)/i.test(type)) {
    return { error: unimplemented("messages are read as application/grpc+proto alone") };
  }
  if (!methods.has(path)) return { error: unimplemented(`the service has no method ${path}`, { path }) };
  const { "grpc-encoding": encoding = "identity", "grpc-timeout": timeout } = headers;
  if (typeof encoding !== "string" || !encodings.includes(encoding)) {
    return {
      error: unimplemented(`messages are unpacked from ${encodings.join(", ")} alone`),
      headers: { "grpc-accept-encoding": encodings.join(",") },
    };
  }
  if (timeout !== undefined && !/^\d{1,8}[HMSmun]$/.test(String(timeout))) {
    return { error: invalid(`the request is malformed: Invalid grpc-timeout value "${String(timeout)}"`) };
  }
  return undefined;
}

/** What grpc-js unpacks. */
const encodings = ["identity", "deflate", "gzip"];

function invalid(text: string): OtaError {
  return new OtaError("invalid_argument", "INVALID_REQUEST", text);
}

function unimplemented(text: string, metadata: Readonly<Record<string, string>> = {}): OtaError {
  return new OtaError("unimplemented", "UNIMPLEMENTED", text, { metadata });
}

/** An answer that is nothing but trailers. */
function answerOf(failure: Failure): Record<string, string | number> {
  return {
    ":status": 200,
    "content-type": "application/grpc+proto",
    "grpc-status": failure.code.number,
    "grpc-message": encodeURIComponent(failure.status.message),
    "grpc-status-details-bin": statusText(failure),
  };
}
