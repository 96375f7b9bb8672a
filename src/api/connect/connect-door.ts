import { createRegistry, type Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type MethodImpl,
} from "@connectrpc/connect";
import { fastifyConnectPlugin } from "@connectrpc/connect-fastify";
import { compressionGzip } from "@connectrpc/connect-node";
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from "fastify";
import { OtaError } from "../../errors.ts";
import { rememberCaller } from "../http/answer-watch.ts";
import {
  asHttpError,
  clientGone,
  errorDetailRegistry,
  isGone,
  type LetIn,
  openHttpCall,
  pendingBody,
} from "../http/http-call.ts";
import type { Call, CallOrigin } from "../pipeline/call.ts";
import { boundTimeout, maxTimeoutMs } from "../pipeline/client-timeout.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";
import type { EndpointTable } from "../pipeline/endpoint-table.ts";
import type { PendingRequest, PendingRequests } from "../pipeline/pending-requests.ts";
import { maxMessageBytes, methodName, type Pipeline, type Route } from "../pipeline/pipeline.ts";
import type { UnreadAnswers } from "../pipeline/unread-answers.ts";
import { certificateOf } from "../tls/port-tls.ts";
import { toConnectError } from "./connect-error.ts";
import { sendRpcFailure, unfitForRpc } from "./connect-refusals.ts";
import { type ReadMessages, readInPlaceOfConnect } from "./read-bodies.ts";

/**
 * The Connect door: the Connect and gRPC-Web protocols on the HTTP port, for browsers. gRPC itself is not served here,
 * @grpc/grpc-js costs a quarter of it. `shutdown` aborts the calls that are still open.
 */
export async function registerConnectDoor(
  app: FastifyInstance,
  pipeline: Pipeline,
  table: EndpointTable,
  options: { readonly shutdown: AbortSignal; readonly letIn: LetIn },
): Promise<void> {
  const routes = new Map<string, Route>();
  const endpoints = new Map<string, Endpoint>();
  for (const endpoint of table) {
    const name = methodName(endpoint);
    routes.set(name, pipeline.rpc(endpoint, "connect"));
    endpoints.set(name, endpoint);
  }
  const findEndpoint = (request: FastifyRequest) => endpoints.get(calledName(request));
  const endpointOf = (request: FastifyRequest) => findEndpoint(request) as Endpoint;
  const readMessages = new WeakMap<FastifyRequest, ReadMessages>();
  const readOurselves = async (request: FastifyRequest): Promise<void> => {
    const read = readInPlaceOfConnect(request, endpointOf(request));
    if (read !== undefined) readMessages.set(request, read);
  };
  const refuse = async (request: FastifyRequest, reply: FastifyReply, error: unknown) => {
    const route = routes.get(methodName(endpointOf(request))) as Route;
    const call = openHttpCall(route, "connect", request, reply);
    return sendRpcFailure(request, reply, route.fail(call, asHttpError(error) ?? error));
  };
  await app.register(async (scope) => {
    scope.addHook("onRequest", async (request, reply) => {
      const endpoint = findEndpoint(request);
      if (endpoint === undefined) return reply.callNotFound();
      boundTimeout(request.raw.headers);
      const unfit = unfitForRpc(request, reply, endpoint);
      return unfit === undefined ? undefined : refuse(request, reply, unfit);
    });
    scope.setErrorHandler((error, request, reply) => refuse(request, reply, error));
    scope.addHook("preHandler", readOurselves);
    await scope.register(connectByService, {
      grpc: false,
      readMaxBytes: maxMessageBytes,
      // Of requests; a message that unpacks to more than `readMaxBytes` is refused before it does.
      acceptCompression: [compressionGzip],
      // Answers go as they are: firmware would be compressed as well, at a fifth of the speed.
      compressMinBytes: maxMessageBytes,
      maxTimeoutMs,
      // Forces a preflight for cross-origin calls of browsers.
      requireConnectProtocolHeader: true,
      shutdownSignal: options.shutdown,
      jsonOptions: {
        registry: createRegistry(errorDetailRegistry, ...table.services.map(({ file }) => file)),
      },
      contextValues: (request) =>
        createContextValues()
          .set(requestKey, request as FastifyRequest)
          // Cannot be asked for any more when the client has gone.
          .set(peerKey, request.ip)
          .set(readKey, readMessages.get(request as FastifyRequest)),
      // Runs before the body is read: strangers are turned away cheaply.
      requestGate: async (context) => {
        const route = routes.get(nameOf(context)) as Route;
        const gated = await admit(route, context, pipeline.unreadAnswers);
        const request = context.values.get(requestKey);
        if (request === undefined) return;
        options.letIn(request.raw.socket);
        awaitBody(route, context, pipeline.pendingRequests, { gated, request });
      },
      routes: (router: ConnectRouter) => {
        for (const endpoint of table) {
          const route = routes.get(methodName(endpoint)) as Route;
          router.rpc(
            endpoint.method,
            implementationOf(endpoint, route) as MethodImpl<typeof endpoint.method>,
          );
        }
      },
    });
  });
}

/**
 * Connect's own plugin, with one route for each service and HTTP method: it makes them for each RPC, a thousand, which are a fifth of
 * what a start of the service costs.
 */
const connectByService: typeof fastifyConnectPlugin = (instance, options, done) => {
  const handlers = new Map<string, RouteHandlerMethod>();
  const collect = (path: string, _options: object, handler: RouteHandlerMethod) => {
    handlers.set(path.slice(1), handler);
    return instance;
  };
  fastifyConnectPlugin(
    Object.create(instance, { all: { value: collect } }) as FastifyInstance,
    options,
    done,
  );
  const services = new Set([...handlers.keys()].map((name) => name.slice(0, name.indexOf("/"))));
  for (const service of services) {
    instance.all(`/${service}/:${methodParameter}`, function (request, reply) {
      return handlers.get(calledName(request))?.call(this, request, reply);
    });
  }
};

const methodParameter = "method";

/** The full name of the RPC at the path of a request; there need be none of that name. */
function calledName({ routeOptions: { url = "" }, params }: FastifyRequest): string {
  return url
    .slice(1)
    .replace(`:${methodParameter}`, (params as Record<string, string>)[methodParameter] ?? "");
}

/** A call between the gate and its end. */
interface GatedCall {
  readonly call: Call;
  /** Whether its handler was reached; otherwise its body could not be read. */
  started: boolean;
  /** Of calls with a single request message. */
  body?: PendingRequest;
}

const peerKey = createContextKey<string>("unknown", { description: "the caller's address" });
const requestKey = createContextKey<FastifyRequest | undefined>(undefined, {
  description: "the HTTP request",
});
const gatedKey = createContextKey<GatedCall | undefined>(undefined, {
  description: "the call in the pipeline",
});

const readKey = createContextKey<ReadMessages | undefined>(undefined, {
  description: "messages that were not read by Connect",
});

function nameOf(context: HandlerContext): string {
  return `${context.service.typeName}/${context.method.name}`;
}

async function admit(route: Route, context: HandlerContext, unread: UnreadAnswers): Promise<GatedCall> {
  const call = route.open(originOf(context));
  const gated: GatedCall = { call, started: false };
  context.values.set(gatedKey, gated);
  context.responseHeader.set("x-request-id", call.requestId);
  context.signal.addEventListener("abort", () => endEarly(route, gated, context), { once: true });
  try {
    const request = context.values.get(requestKey);
    if (request !== undefined) {
      rememberCaller(request, call);
      if (isGone(request)) throw clientGone();
    }
    // The client's deadline had passed before anybody listened.
    if (context.signal.aborted) throw reasonOf(context.signal.reason);
    await route.admit(call);
    // How large the answer is, shows only when Connect writes it.
    unread.requireRoom(call, maxMessageBytes);
    return gated;
  } catch (error) {
    const failure = route.fail(call, error);
    // RFC 9110, section 15.5.2: a 401 names the scheme. Only unary calls of Connect are answered with one.
    if (failure.code.http === 401 && context.protocolName === "connect")
      context.responseHeader.set("www-authenticate", "Bearer");
    throw toConnectError(failure);
  }
}

/** Counts the only message of a call while it is on its way. Throws if it may not come. */
function awaitBody(
  route: Route,
  { method: { methodKind }, values }: HandlerContext,
  pending: PendingRequests,
  { gated, request }: { readonly gated: GatedCall; readonly request: FastifyRequest },
): void {
  if (methodKind === "client_streaming" || methodKind === "bidi_streaming") return;
  const announced = values.get(readKey)?.announcedBytes;
  if (announced !== undefined) request.headers["content-length"] = announced;
  let refusal: Error | undefined;
  const refused = (reason: Error) => {
    refusal = reason;
    // Once Connect reads the body it takes no answer from anybody else.
    if (gated.body !== undefined) request.raw.destroy();
  };
  const body = pendingBody(pending, request, { call: gated.call, route }, refused);
  if (refusal !== undefined) throw toConnectError(route.fail(gated.call, refusal));
  gated.body = body;
}

/** The signal aborts at the end of every call; by then the call is finished unless something went wrong on the way. */
function endEarly(route: Route, { call, started }: GatedCall, context: HandlerContext): void {
  const { reason }: { readonly reason: unknown } = context.signal;
  // What is left of a body that is given up would stand before the next request of its connection.
  if (!started && context.values.get(requestKey)?.raw.complete === false)
    context.responseHeader.set("connection", "close");
  if (call.finished) return;
  const error = reasonOf(reason);
  call.abort(error);
  if (started) return;
  const failure = toConnectError(route.fail(call, error));
  // Connect aborts with the error that it is about to send, for example of a body that is too large, or of bytes that are no
  // message, which it takes for a fault of ours.
  if (reason instanceof ConnectError) {
    const { code, message, rawMessage, details } = failure;
    Object.assign(reason, { code, message, rawMessage, details });
  }
}

function reasonOf(reason: unknown): OtaError {
  if (reason instanceof OtaError) return reason;
  if (!(reason instanceof ConnectError)) return clientGone();
  if (reason.code === Code.DeadlineExceeded) {
    return new OtaError("deadline_exceeded", "DEADLINE_EXCEEDED", "the client's deadline passed");
  }
  if (reason.code === Code.ResourceExhausted) {
    return new OtaError("resource_exhausted", "MESSAGE_TOO_LARGE", reason.rawMessage);
  }
  // A compression that is not spoken here.
  if (reason.code === Code.Unimplemented) {
    return new OtaError("unimplemented", "UNIMPLEMENTED", reason.rawMessage);
  }
  return reason.code === Code.Canceled || reason.code === Code.Aborted
    ? clientGone()
    : new OtaError("invalid_argument", "INVALID_REQUEST", reason.rawMessage);
}

function implementationOf(endpoint: Endpoint, route: Route): unknown {
  switch (endpoint.kind) {
    case "unary":
      return (request: Message, context: HandlerContext) =>
        answerOnce(route, context, async (call) => {
          const message = await (context.values.get(readKey)?.take() ?? request);
          route.check(call, message);
          return endpoint.handle(message, call);
        });
    case "client_stream":
      return (requests: AsyncIterable<Message>, context: HandlerContext) =>
        answerOnce(route, context, (call) =>
          endpoint.handle(route.checked(call, readable(requests, context)), call),
        );
    case "server_stream":
      return (request: Message, context: HandlerContext) =>
        answerMany(route, context, async (call) => {
          const message = await (context.values.get(readKey)?.take() ?? request);
          route.check(call, message);
          return handedBack(endpoint, endpoint.handle(message, call));
        });
    case "bidi_stream":
      return (requests: AsyncIterable<Message>, context: HandlerContext) =>
        answerMany(route, context, (call) =>
          endpoint.handle(route.checked(call, readable(requests, context)), call),
        );
  }
}

/** Answers whose memory is lent: Connect copies each as it encodes it, and does so before it asks for the next one. */
async function* handedBack(
  { options: { inPlace } }: Endpoint,
  answers: AsyncIterable<object>,
): AsyncGenerator<object, void> {
  if (inPlace === undefined) return yield* answers;
  for await (const answer of answers) {
    yield answer;
    inPlace.sent(answer);
  }
}

/** The messages of a stream; what Connect finds wrong with one (not readable, too large) becomes an error of ours. */
async function* readable(
  requests: AsyncIterable<Message>,
  context: HandlerContext,
): AsyncGenerator<Message, void> {
  const read = context.values.get(readKey);
  try {
    if (read === undefined) yield* requests;
    else for await (const _empty of requests) yield read.take();
  } catch (error) {
    throw error instanceof ConnectError ? reasonOf(error) : error;
  }
}

async function answerOnce(
  route: Route,
  context: HandlerContext,
  handle: (call: Call) => Promise<object>,
): Promise<object> {
  const call = startedCall(context);
  try {
    const answer = await handle(call);
    if (call.abortReason !== undefined) throw call.abortReason;
    route.succeed(call);
    return answer;
  } catch (error) {
    throw toConnectError(route.fail(call, error));
  }
}

async function* answerMany(
  route: Route,
  context: HandlerContext,
  handle: (call: Call) => AsyncIterable<object> | Promise<AsyncIterable<object>>,
): AsyncGenerator<object, void> {
  const call = startedCall(context);
  let sent = 0;
  try {
    for await (const answer of await handle(call)) {
      if (call.abortReason !== undefined) throw call.abortReason;
      sent++;
      yield answer;
    }
    if (call.abortReason !== undefined) throw call.abortReason;
    route.succeed(call);
  } catch (error) {
    throw toConnectError(route.fail(call, error));
  } finally {
    route.countMessages(0, sent);
    // Connect returns the generator when the client goes away.
    if (!call.finished) route.fail(call, call.abortReason ?? clientGone());
  }
}

function startedCall(context: HandlerContext): Call {
  const gated = context.values.get(gatedKey);
  if (gated === undefined) throw new Error("a call reached its handler without passing the gate");
  gated.started = true;
  gated.body?.end();
  return gated.call;
}

function originOf(context: HandlerContext): CallOrigin {
  return {
    door: "connect",
    authorization: context.requestHeader.get("authorization") ?? undefined,
    certificate: certificateOf(context.values.get(requestKey)?.raw.socket),
    requestId: context.requestHeader.get("x-request-id") ?? undefined,
    getPeer: () => context.values.get(peerKey),
    getTraceparent: () => context.requestHeader.get("traceparent") ?? undefined,
  };
}
