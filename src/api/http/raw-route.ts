import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from "fastify";
import type { AccessRule } from "../pipeline/access-rule.ts";
import type { Call } from "../pipeline/call.ts";
import { type CallContext, type PlaceKind, type RateClass, servingCall } from "../pipeline/endpoint.ts";
import type { PendingRequest } from "../pipeline/pending-requests.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import {
  asHttpError,
  type LetIn,
  openHttpCall,
  pendingBody,
  requireKnownEncoding,
  sendFailure,
} from "./http-call.ts";

/** Something on the HTTP port that is no RPC but goes through the same pipeline: a download, a foreign protocol. */
export interface RawRoute {
  readonly method: HTTPMethods | HTTPMethods[];
  /** A Fastify path; also the route's name in logs and metrics. */
  readonly url: string;
  /** There is no message in which a device could name itself; what it names otherwise is for the handler to check. */
  readonly access: AccessRule<never>;
  readonly rate: RateClass;
  /** The places that its calls take. */
  readonly place?: PlaceKind;
  /** The most bytes of a request body; Fastify's parsers read JSON. Default 1 MiB. */
  readonly bodyLimit?: number;
  /**
   * Hands the body over as it came, whatever its media type: whole, as a Buffer, or as a stream of what arrives; undefined if there
   * is none.
   */
  readonly body?: "buffer" | "stream";
  /**
   * Answers, either by returning the payload or by writing the reply itself; it resolves when the answer is complete.
   * Errors leave as google.rpc.Status JSON.
   */
  handle(request: FastifyRequest, reply: FastifyReply, context: CallContext): Promise<unknown>;
}

/** Mounts a raw route: identity, limits, errors, log and metrics are the pipeline's. */
export function registerRawRoute(
  app: FastifyInstance,
  pipeline: Pipeline,
  raw: RawRoute,
  letIn: LetIn,
): void {
  const route = pipeline.route(
    {
      name: raw.url,
      // Nor does it say what it is about, as tokens with limits have to.
      access: { ...raw.access, scope: undefined },
      rate: raw.rate,
      place: raw.place,
      input: undefined,
      streaming: false,
    },
    "http",
  );
  const calls = new WeakMap<FastifyRequest, Call>();
  const bodies = new WeakMap<FastifyRequest, PendingRequest>();
  const mount = (scope: FastifyInstance) =>
    scope.route({
      method: raw.method,
      url: raw.url,
      ...(raw.bodyLimit === undefined ? {} : { bodyLimit: raw.bodyLimit }),
      onRequest: async (request, reply) => {
        const call = openHttpCall(route, "http", request, reply);
        calls.set(request, call);
        await route.admit(call);
        letIn(request.raw.socket);
        requireKnownEncoding(request, reply, ["identity"]);
        // A stream is read as it is used; all else is put together first, and a call may be cut until then.
        if (raw.body !== "stream") {
          const refused = (reason: Error) => {
            if (call.finished) return;
            // The connection ends with the answer: nobody reads what would still come.
            void sendFailure(reply.header("connection", "close"), route.fail(call, reason));
          };
          const body = pendingBody(pipeline.pendingRequests, request, { call, route }, refused);
          bodies.set(request, body);
          call.onAbort((reason) => {
            if (!request.raw.complete) refused(reason);
          });
        }
      },
      handler: async (request, reply) => {
        const call = calls.get(request) as Call;
        bodies.get(request)?.end();
        try {
          const payload = await servingCall(call, () => {
            const handle = () => raw.handle(request, reply, call);
            return call.trace === undefined ? handle() : call.trace.run(handle);
          });
          route.succeed(call);
          return payload;
        } catch (error) {
          const failure = route.fail(call, error);
          // Half an answer is out: the handler has cut the connection.
          return reply.sent || reply.raw.headersSent ? undefined : sendFailure(reply, failure);
        }
      },
      errorHandler: (error, request, reply) => {
        const call = calls.get(request) ?? openHttpCall(route, "http", request, reply);
        void sendFailure(reply, route.fail(call, asHttpError(error) ?? error));
      },
    });
  if (raw.body === undefined) {
    mount(app);
    return;
  }
  // Parsers belong to a scope: this route's must not take the bodies of the others.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    if (raw.body === "buffer")
      scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    else scope.addContentTypeParser("*", (_request, body, done) => done(null, body));
    mount(scope);
  });
}
