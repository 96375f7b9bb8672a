import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  JsonValue,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { ShownCertificate } from "../../call/client-certificate.ts";
import { duringCall } from "../../call/current-call.ts";
import { actorOf, type Identity } from "../../call/identity.ts";
import { readingFor } from "../../infra/reader.ts";
import { type AccessRule, accessRuleOf } from "./access-rule.ts";

/** The way a call came in. */
export type Door = "grpc" | "connect" | "rest" | "http";

/** What a handler knows of the call that it serves. */
export interface CallContext {
  readonly identity: Identity;
  /** Identifies the call in the log and in error answers. */
  readonly requestId: string;
  /** Aborts when the client goes away, its deadline passes or the service stops. */
  readonly signal: AbortSignal;
  /** The caller's address, without port. */
  readonly peer: string;
  /** What the client showed when the connection began, if it is TLS and asks for certificates. */
  readonly certificate?: ShownCertificate | undefined;
  readonly door: Door;
  /** Writes lines that carry the request id and the method. */
  readonly logger: Logger;
  /** Says that a unary call is going to wait: as a stream, it is cut when its caller's credential ends meanwhile. */
  lasts(): void;
  /** Says that the call did nothing for some time because its caller wished to wait: that does not make it a slow one. */
  waited(ms: number): void;
}

/** Which limit a call counts against, per device, token or (without credential) address. */
export type RateClass =
  | "enrol"
  | "heartbeat"
  | "update_check"
  | "download"
  | "device"
  | "device_read"
  | "operator"
  | "sign_in"
  | "probe"
  | "page"
  /** Wrong tokens; no endpoint is of this class. */
  | "credential"
  /** Refused calls that are put on record; no endpoint is of this class. */
  | "refusal";

/** Which places a call takes for as long as it is open. */
export type PlaceKind =
  | "heartbeats"
  | "update_checks"
  | "downloads"
  | "crash_logs"
  | "operators"
  | "anonymous";

/** What the endpoint table says of a method beside its handler. */
export interface EndpointOptions<Request> {
  /** Who may call a method of somebody else's contract, which cannot say so; ours have an option for it. */
  readonly access?: AccessRule<Request>;
  readonly rate: RateClass;
  /** The limit that calls of devices count against, where it is another one. */
  readonly deviceRate?: RateClass;
  /** The places that its calls take; those of operators or, without credential, of anybody if a stream names none. */
  readonly place?: PlaceKind;
  /**
   * Encodes for gRPC the answers that it can encode cheaper than the general encoder, because they are large or always the
   * same; undefined leaves an answer to that one. Worth it only on the hottest paths.
   */
  readonly encode?: (answer: object) => Buffer | undefined;
  /** For methods that carry many things that should not suffer for each other. */
  readonly salvage?: Salvage<Request>;
  /** For streams of large answers, which gRPC then sends from where they lie, and all doors hand back. */
  readonly inPlace?: InPlaceAnswers;
}

/**
 * Reads what there is to be read of a message that cannot be read as a whole. Undefined refuses the message; what is thrown says
 * why.
 */
export interface Salvage<Request> {
  fromBinary(bytes: Uint8Array): Promise<Request | undefined>;
  fromJson(json: JsonValue, reading: JsonReading): Promise<Request | undefined>;
}

/** How a door reads JSON. */
export interface JsonReading {
  /** Whether names that the contract does not have are passed over, as in the binary encoding. */
  readonly ignoreUnknownFields: boolean;
}

/** Answers of a stream whose memory is lent to the doors. */
export interface InPlaceAnswers {
  /** An answer in gRPC's framing: a zero byte, the message's length in four bytes, the message. Undefined: not in place. */
  frame(answer: object): Buffer | undefined;
  /**
   * Is told when the answer has been sent, or copied, and so its memory can be used for another. Not told of answers that did
   * not get through.
   */
  sent(answer: object): void;
}

/** One method of the contract with its handler and its rules: a row of the endpoint table. */
export type Endpoint = UnaryEndpoint | ServerStreamEndpoint | ClientStreamEndpoint | BidiStreamEndpoint;

/** A row of the endpoint table for a unary method. */
export interface UnaryEndpoint<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly kind: "unary";
  readonly method: DescMethodUnary<I, O>;
  readonly access: AccessRule<MessageShape<I>>;
  readonly options: EndpointOptions<MessageShape<I>>;
  readonly handle: (request: MessageShape<I>, context: CallContext) => Promise<MessageInitShape<O>>;
}

/** A row of the endpoint table for a method that answers with a stream. */
export interface ServerStreamEndpoint<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "server_stream";
  readonly method: DescMethodServerStreaming<I, O>;
  readonly access: AccessRule<MessageShape<I>>;
  readonly options: EndpointOptions<MessageShape<I>>;
  readonly handle: (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>;
}

/** A row of the endpoint table for a method that takes a stream. */
export interface ClientStreamEndpoint<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "client_stream";
  readonly method: DescMethodClientStreaming<I, O>;
  readonly access: AccessRule<MessageShape<I>>;
  readonly options: EndpointOptions<MessageShape<I>>;
  readonly handle: (
    requests: AsyncIterable<MessageShape<I>>,
    context: CallContext,
  ) => Promise<MessageInitShape<O>>;
}

/** A row of the endpoint table for a method with streams both ways. */
export interface BidiStreamEndpoint<
  I extends DescMessage = DescMessage,
  O extends DescMessage = DescMessage,
> {
  readonly kind: "bidi_stream";
  readonly method: DescMethodBiDiStreaming<I, O>;
  readonly access: AccessRule<MessageShape<I>>;
  readonly options: EndpointOptions<MessageShape<I>>;
  readonly handle: (
    requests: AsyncIterable<MessageShape<I>>,
    context: CallContext,
  ) => AsyncIterable<MessageInitShape<O>>;
}

/** Writes down a unary method. Requests reach `handle` identified, limited and validated. */
export function unary<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  options: EndpointOptions<MessageShape<I>>,
  handle: UnaryEndpoint<I, O>["handle"],
): Endpoint {
  const isRead = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  const known: typeof handle = isFrequent(options.rate)
    ? handle
    : (request, context) => {
        const serve = () => handle(request, context);
        return servingCall(context, isRead ? () => readingFor(context, serve) : serve);
      };
  return endpoint("unary", method, options, known);
}

/** Writes down a method that answers with a stream. The stream ends when the generator does. */
export function serverStream<I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  options: EndpointOptions<MessageShape<I>>,
  handle: ServerStreamEndpoint<I, O>["handle"],
): Endpoint {
  return endpoint("server_stream", method, options, handle);
}

/** Writes down a method that takes a stream. Each message is validated before the handler sees it. */
export function clientStream<I extends DescMessage, O extends DescMessage>(
  method: DescMethodClientStreaming<I, O>,
  options: EndpointOptions<MessageShape<I>>,
  handle: ClientStreamEndpoint<I, O>["handle"],
): Endpoint {
  const known: typeof handle = (requests, context) => servingCall(context, () => handle(requests, context));
  return endpoint("client_stream", method, options, known);
}

/** Writes down a method with streams both ways. Each message is validated before the handler sees it. */
export function bidiStream<I extends DescMessage, O extends DescMessage>(
  method: DescMethodBiDiStreaming<I, O>,
  options: EndpointOptions<MessageShape<I>>,
  handle: BidiStreamEndpoint<I, O>["handle"],
): Endpoint {
  return endpoint("bidi_stream", method, options, handle);
}

/** What most methods need: they count against the limit of the API. */
export const apiCalls = { rate: "operator" } as const;

/** Runs a handler so that what it puts on record says where the call came from. */
export function servingCall<T>(context: CallContext, handle: () => Promise<T>): Promise<T> {
  const { identity, peer, requestId } = context;
  return duringCall({ actor: actorOf(identity), address: peer, requestId }, handle);
}

function endpoint<Request>(
  kind: Endpoint["kind"],
  method: DescMethod,
  options: EndpointOptions<Request>,
  handle: unknown,
): Endpoint {
  const access = options.access ?? accessRuleOf(method);
  return { kind, method, access, options, handle } as unknown as Endpoint;
}

/** What devices call all the time changes nothing that is put on record, and would pay for it with each call. */
function isFrequent(rate: RateClass): boolean {
  return rate === "heartbeat" || rate === "update_check" || rate === "device";
}
