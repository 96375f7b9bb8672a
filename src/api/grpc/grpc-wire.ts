import { type Message, toBinary } from "@bufbuild/protobuf";
import {
  type Deadline,
  Metadata,
  type ServerDuplexStream,
  type ServerInterceptingCallInterface,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import type { ShownCertificate } from "../../call/client-certificate.ts";
import { OtaError } from "../../errors.ts";
import type { Call, CallOrigin } from "../pipeline/call.ts";
import type { Door, Endpoint } from "../pipeline/endpoint.ts";
import { type Failure, statusBytes, unpadded } from "../pipeline/failure.ts";
import { answerOf, type Route } from "../pipeline/pipeline.ts";
import { messageFromBinary } from "../pipeline/request-reading.ts";

/** A call of any shape, as grpc-js hands it to a handler; messages are still bytes. */
export type AnyCall =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerReadableStream<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>
  | ServerDuplexStream<Buffer, Buffer>;

/** A gRPC call as the pipeline sees it coming in. */
export class GrpcOrigin implements CallOrigin {
  readonly door: Door = "grpc";
  readonly authorization: string | undefined;
  readonly certificate: ShownCertificate | undefined;
  readonly requestId: string | undefined;
  readonly #call: Pick<ServerInterceptingCallInterface, "getPeer">;
  readonly #headers: Metadata;

  constructor(
    call: Pick<ServerInterceptingCallInterface, "getPeer">,
    headers: Metadata,
    certificate: ShownCertificate | undefined,
  ) {
    this.#call = call;
    this.#headers = headers;
    this.certificate = certificate;
    this.authorization = headerOf(headers, "authorization");
    this.requestId = headerOf(headers, "x-request-id");
  }

  getPeer(): string {
    const peer = this.#call.getPeer();
    const colon = peer.lastIndexOf(":");
    return colon === -1 ? peer : peer.slice(0, colon);
  }

  getTraceparent(): string | undefined {
    return headerOf(this.#headers, "traceparent");
  }
}

function headerOf(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return typeof value === "string" ? value : undefined;
}

/** What every answer and every error carries. */
export function headersOf(call: Call): Metadata {
  const metadata = new Metadata();
  metadata.set("x-request-id", call.requestId);
  return metadata;
}

/**
 * Metadata with a status in it, in base64 as servers should write it (gRPC over HTTP/2, "Custom-Metadata"): grpc-js pads it, which costs bytes
 * and which strict clients refuse.
 */
class StatusMetadata extends Metadata {
  override clone(): StatusMetadata {
    const copy = new StatusMetadata();
    copy.merge(this);
    return copy;
  }

  override toHttp2Headers(): ReturnType<Metadata["toHttp2Headers"]> {
    const headers = super.toHttp2Headers();
    const padded = headers[statusDetails];
    if (typeof padded === "string") headers[statusDetails] = unpadded(padded);
    return headers;
  }
}

const statusDetails = "grpc-status-details-bin";

/** grpc-js hands bytes through; decoding and encoding happen inside the pipeline, where errors are mapped. */
export function sameBytes(bytes: Buffer): Buffer {
  return bytes;
}

/** Reads a request message and leads it through the pipeline's checks. Throws an OtaError; a promise means that it is salvaged. */
export function decode(
  endpoint: Endpoint,
  route: Route,
  call: Call,
  bytes: Buffer,
): Message | Promise<Message> {
  const read = messageFromBinary(endpoint, bytes);
  if (read instanceof Promise) return read.then((message) => checked(route, call, message));
  return checked(route, call, read);
}

function checked(route: Route, call: Call, message: Message): Message {
  route.check(call, message);
  return message;
}

/** An answer as bytes. */
export function encode(endpoint: Endpoint, answer: object): Buffer {
  const special = endpoint.options.encode?.(answer);
  if (special !== undefined) return special;
  const bytes = toBinary(endpoint.method.output, answerOf(endpoint, answer));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A failure in the form that grpc-js sends: status, and google.rpc.Status in `grpc-status-details-bin`. */
export function toGrpcError(
  failure: Failure,
  call: Call,
): Error & { code: number; details: string; metadata: Metadata } {
  const metadata = new StatusMetadata();
  metadata.set("x-request-id", call.requestId);
  metadata.set(statusDetails, Buffer.from(statusBytes(failure)));
  const details = failure.status.message;
  // A plain object: the stack is logged already, and one here would only cost time.
  return { name: "GrpcError", message: details, code: failure.code.number, details, metadata };
}

/**
 * A client whose deadline passes cancels the call, and its cancellation may come in before our own timer, which started
 * later by the time that the request was on its way.
 */
const deadlineSlackMs = 50;

/** Why grpc-js says that a call was cancelled. */
export function cancelReason(grpcCall: { getDeadline(): Deadline }): OtaError {
  if (Number(grpcCall.getDeadline()) <= Date.now() + deadlineSlackMs) {
    return deadlinePassed();
  }
  return new OtaError("cancelled", "CANCELLED", "the client cancelled the call or went away");
}

/** What a call ends with that its client gave no more time. */
export function deadlinePassed(): OtaError {
  return new OtaError("deadline_exceeded", "DEADLINE_EXCEEDED", "the client's deadline passed");
}
