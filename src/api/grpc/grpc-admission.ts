import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import {
  type Metadata,
  type ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";
import { OtaError } from "../../errors.ts";
import type { Call } from "../pipeline/call.ts";
import type { ConnectionEnd } from "../pipeline/connection-guard.ts";
import { type Failure, failureOf } from "../pipeline/failure.ts";
import {
  maxPublicMessageBytes,
  type PendingRequest,
  type PendingRequests,
  publicMessageTooLarge,
} from "../pipeline/pending-requests.ts";
import type { Route } from "../pipeline/pipeline.ts";
import { certificateOf } from "../tls/port-tls.ts";
import { type AnyCall, cancelReason, deadlinePassed, GrpcOrigin, toGrpcError } from "./grpc-wire.ts";

/** What {@link GrpcAdmission} tells of. */
export interface AdmissionOwner {
  /** A call has come in. */
  began(call: Call): void;
  /** A call was let in over this connection. */
  admitted(connection: ConnectionEnd): void;
  /** A call is over that was never handed to its handler; why, and by which connection it came. */
  refused(call: Call, failure: Failure, session: Http2Session | undefined): void;
}

/**
 * Asks who calls before a byte of the request is read. By itself grpc-js first puts the message of a unary call together
 * in memory, up to its largest size, for anybody, and for as long as the sender likes. Here the call is led through the
 * pipeline's admission when its headers are there; until then what was sent waits in HTTP/2's window (64 KiB for all
 * calls of a connection). After that it counts as one of the {@link PendingRequests}.
 *
 * It also makes the refusal of a message that is too large or damaged an error like all others, with reason, log line and count:
 * grpc-js sends a bare status for it.
 *
 * A wrapper around each call (what grpc-js makes of an interceptor) would cost every message of a stream several steps. So
 * the interceptor wraps nothing: it puts itself before the innermost call's `start` and `sendStatus`, on which grpc-js
 * sends those refusals past all wrappers.
 */
export class GrpcAdmission {
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #pending: PendingRequests;
  readonly #owner: AdmissionOwner;
  /** By what grpc-js calls the same call. */
  readonly #arrivals = new WeakMap<object, Arrival>();

  /** `routes` by gRPC path. */
  constructor(routes: ReadonlyMap<string, Route>, pending: PendingRequests, owner: AdmissionOwner) {
    this.#routes = routes;
    this.#pending = pending;
    this.#owner = owner;
  }

  readonly interceptor: ServerInterceptor = ({ path, requestStream }, inner) => {
    const route = this.#routes.get(path);
    if (route !== undefined) {
      const pending = requestStream ? undefined : this.#pending;
      this.#arrivals.set(inner, new Arrival(inner, route, this.#owner, pending));
    }
    // The type asks for a wrapper; grpc-js takes any call.
    return inner as ServerInterceptingCall;
  };

  /** The call that a handler was called with: it was admitted, and its request is there. */
  take(grpcCall: AnyCall): Call {
    // grpc-js has no public way to it; tests watch that this one works.
    const { call: inner } = grpcCall as unknown as { call: object };
    const arrival = this.#arrivals.get(inner);
    if (arrival === undefined) throw new Error("a call reached its handler without passing the admission");
    return arrival.handOver();
  }
}

type Listener = Parameters<ServerInterceptingCallInterface["start"]>[0];
type PartialStatusObject = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** A call from its headers on until its handler takes it over. */
class Arrival implements Listener {
  readonly #inner: ServerInterceptingCallInterface;
  readonly #route: Route;
  readonly #owner: AdmissionOwner;
  /** Of calls with a single request message. */
  readonly #pending: PendingRequests | undefined;
  #request: PendingRequest | undefined;
  #call: Call | undefined;
  #listener: Listener | undefined;
  #handedOver = false;

  constructor(
    inner: ServerInterceptingCallInterface,
    route: Route,
    owner: AdmissionOwner,
    pending: PendingRequests | undefined,
  ) {
    this.#inner = inner;
    this.#route = route;
    this.#owner = owner;
    this.#pending = pending;
    const start = inner.start.bind(inner);
    inner.start = (listener) => {
      this.#listener = listener;
      start(this);
    };
    const sendStatus = inner.sendStatus.bind(inner);
    inner.sendStatus = (answer) => {
      const refusal = refusalByLibrary(answer);
      if (refusal !== undefined && this.#call !== undefined) return this.#call.abort(refusal);
      if (isOutOfTime(answer)) return this.#outOfTime(sendStatus);
      // grpc-js says "OK" in words, which a device on a metered link pays for, and which some clients take for a fault.
      if (answer.code === status.OK) answer.details = "";
      sendStatus(answer);
    };
    requireDeclaredCompression(inner);
  }

  /** The handler answers the call from now on. */
  handOver(): Call {
    if (this.#call === undefined) throw new Error("a call reached its handler before its headers");
    this.#handedOver = true;
    this.#request?.end();
    return this.#call;
  }

  onReceiveMetadata(metadata: Metadata): void {
    const session = streamOf(this.#inner)?.session;
    // Its socket cannot be asked for any more when it is over.
    const certificate = session?.destroyed === false ? certificateOf(session.socket) : undefined;
    const call = this.#route.open(new GrpcOrigin(this.#inner, metadata, certificate));
    this.#call = call;
    this.#owner.began(call);
    call.onAbort((reason) => this.#refuse(call, reason));
    const admitted = () => {
      if (call.finished) return;
      this.#owner.admitted(this.#inner.getConnectionInfo());
      this.#watchRequest(call);
      this.#listener?.onReceiveMetadata(metadata);
    };
    try {
      const pending = this.#route.admit(call);
      if (pending === undefined) admitted();
      else pending.then(admitted).catch((error) => this.#refuse(call, error));
    } catch (error) {
      this.#refuse(call, error);
    }
  }

  onReceiveMessage(message: unknown): void {
    this.#listener?.onReceiveMessage(message);
  }

  onReceiveHalfClose(): void {
    if (this.#call?.finished === false && endsAmidMessage(this.#inner)) {
      const text = "the request is malformed: it ends in the middle of a message";
      this.#call.abort(new OtaError("invalid_argument", "INVALID_REQUEST", text));
      return;
    }
    // What was refused has no one to read it.
    if (this.#call?.finished !== true || this.#handedOver) this.#listener?.onReceiveHalfClose();
  }

  onCancel(): void {
    if (this.#handedOver || this.#call === undefined) this.#listener?.onCancel();
    else if (!this.#call.finished) this.#call.abort(cancelReason(this.#inner));
  }

  /** Counts what the only message of the call holds while it is put together. */
  #watchRequest(call: Call): void {
    if (this.#pending === undefined) return;
    const request = this.#pending.begin(call);
    this.#request = request;
    const isPublic = this.#route.target.access.public === true;
    let received = 0;
    streamOf(this.#inner)?.on("data", (chunk: Buffer) => {
      received += chunk.length;
      if (isPublic && received > maxPublicMessageBytes) request.refuse(publicMessageTooLarge());
      else request.grow(chunk.length);
    });
  }

  /** Answers at the deadline, whether the handler looks at its signal or not; what it then fails with is counted and logged. */
  #outOfTime(sendStatus: ServerInterceptingCallInterface["sendStatus"]): void {
    const call = this.#call;
    const error = deadlinePassed();
    if (call === undefined) return sendStatus({ code: status.DEADLINE_EXCEEDED, details: error.message });
    const { code, details, metadata } = toGrpcError(
      failureOf(error, call, () => undefined),
      call,
    );
    sendStatus({ code, details, metadata });
  }

  #refuse(call: Call, error: unknown): void {
    if (this.#handedOver || call.finished) return;
    this.#request?.end();
    const failure = this.#route.fail(call, error);
    this.#inner.sendStatus(toGrpcError(failure, call));
    // Nothing more of the request is wanted, and a stream that its sender never ends would stay open (RFC 9113, section 8.1).
    const stream = streamOf(this.#inner);
    const session = stream?.session;
    if (stream?.closed !== true) stream?.close(constants.NGHTTP2_NO_ERROR);
    this.#owner.refused(call, failure, session);
  }
}

/** What grpc-js finds wrong with a request, as an error of ours; undefined for all else that it says. */
function refusalByLibrary({ code, details, metadata }: PartialStatusObject): OtaError | undefined {
  // Whatever the service itself says has details.
  if (metadata !== undefined && metadata !== null) return undefined;
  if (code === status.RESOURCE_EXHAUSTED)
    return new OtaError("resource_exhausted", "MESSAGE_TOO_LARGE", details ?? "");
  if (details?.startsWith("Received message compressed with unsupported encoding") === true) {
    const text = "the request is malformed: a message is marked as compressed, and no grpc-encoding says how";
    return new OtaError("invalid_argument", "INVALID_REQUEST", text);
  }
  // Of a call with a single message: none, or several.
  if (code === status.UNIMPLEMENTED)
    return new OtaError("unimplemented", "UNIMPLEMENTED", details ?? "the call cannot be served");
  // It takes these for faults of ours.
  const isCallers = details?.startsWith("Failed to decompress message") === true;
  if (code !== status.INTERNAL || !isCallers) return undefined;
  return new OtaError("invalid_argument", "INVALID_REQUEST", `the request is malformed: ${details}`);
}

/** Whether grpc-js says that the deadline has passed: what the service says itself has details. */
function isOutOfTime({ code, metadata }: PartialStatusObject): boolean {
  return code === status.DEADLINE_EXCEEDED && (metadata === undefined || metadata === null);
}

/**
 * Without `grpc-encoding` no message is compressed (gRPC over HTTP/2, "Length-Prefixed-Message"); grpc-js would pass the bytes on as they are.
 * It refuses encodings that it does not know, so none is made one of those. There is no public way; tests watch that this one works.
 */
function requireDeclaredCompression(inner: ServerInterceptingCallInterface): void {
  const call = inner as unknown as { incomingEncoding?: string };
  if (call.incomingEncoding === "identity") call.incomingEncoding = "none";
}

/**
 * Whether a request that its sender finished lacks the rest of its last message, of which grpc-js tells nobody. There is no public way to it;
 * tests watch that this one works.
 */
function endsAmidMessage(inner: ServerInterceptingCallInterface): boolean {
  const { decoder } = inner as unknown as { decoder?: { readonly readState: number } };
  return decoder !== undefined && decoder.readState !== betweenMessages && streamOf(inner)?.aborted === false;
}

const betweenMessages = 0;

/** The HTTP/2 stream below a call. grpc-js has no public way to it; tests watch that this one works. */
function streamOf(inner: ServerInterceptingCallInterface): ServerHttp2Stream | undefined {
  return (inner as unknown as { stream?: ServerHttp2Stream }).stream;
}
