import { type DescField, type JsonObject, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { OtaError } from "../../errors.ts";
import {
  asHttpError,
  jsonType,
  type LetIn,
  openHttpCall,
  pendingBody,
  requireKnownEncoding,
  sendFailure,
  unsupportedMediaType,
} from "../http/http-call.ts";
import type { RawPaths } from "../http/raw-paths.ts";
import { pathOf } from "../http/request-target.ts";
import { nothingAt } from "../http/unrouted-requests.ts";
import type { Call } from "../pipeline/call.ts";
import { inCallerNotation } from "../pipeline/caller-notation.ts";
import { bodyEncoding, inflated } from "../pipeline/compressed-body.ts";
import type { UnaryEndpoint } from "../pipeline/endpoint.ts";
import type { BoundEndpoint, EndpointTable } from "../pipeline/endpoint-table.ts";
import type { PendingRequest, PendingRequests } from "../pipeline/pending-requests.ts";
import { answerOf, maxMessageBytes, type Pipeline, type Route } from "../pipeline/pipeline.ts";
import { jsonFromBody } from "../pipeline/request-reading.ts";
import type { UnreadAnswers } from "../pipeline/unread-answers.ts";
import { requestFromHttp } from "./rest-binding.ts";
import { appliedPreference, preferWait } from "./wait-preference.ts";

/**
 * The REST door: unary methods under the paths of their google.api.http annotations, with the JSON mapping of protobuf.
 * Errors are google.rpc.Status as JSON under the HTTP status of AIP-193. Everything under `/api/` that no annotation
 * names is answered in the same form.
 */
export async function registerRestDoor(
  app: FastifyInstance,
  pipeline: Pipeline,
  table: EndpointTable,
  options: { readonly letIn: LetIn; readonly rawPaths: RawPaths },
): Promise<void> {
  const door = new RestDoor(pipeline, table, options);
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      "*",
      { parseAs: "buffer", bodyLimit: maxBodyBytes },
      (_request, body, done) => {
        done(null, body);
      },
    );
    scope.setErrorHandler((error, request, reply) => door.fail(request, reply, error));
    scope.all("/api/*", {
      // Before the body is read.
      onRequest: (request, reply) => door.admit(request, reply),
      handler: (request, reply) => door.answer(request, reply),
    });
  });
}

/** The largest message with its bytes in base64, and room for the JSON around it. */
const maxBodyBytes = 1.5 * maxMessageBytes;

/** A call that found its binding. */
interface RestCall {
  readonly call: Call;
  readonly route: Route;
  readonly bound?: BoundEndpoint;
  readonly variables: ReadonlyMap<string, string>;
  readonly body?: PendingRequest;
}

class RestDoor {
  readonly #bindings: readonly BoundEndpoint[];
  readonly #routes = new Map<UnaryEndpoint, Route>();
  readonly #nowhere: Route;
  readonly #calls = new WeakMap<FastifyRequest, RestCall>();
  readonly #pending: PendingRequests;
  readonly #unread: UnreadAnswers;
  readonly #letIn: LetIn;
  readonly #rawPaths: RawPaths;

  constructor(
    pipeline: Pipeline,
    table: EndpointTable,
    { letIn, rawPaths }: { readonly letIn: LetIn; readonly rawPaths: RawPaths },
  ) {
    this.#letIn = letIn;
    this.#rawPaths = rawPaths;
    this.#pending = pipeline.pendingRequests;
    this.#unread = pipeline.unreadAnswers;
    this.#bindings = table.bindings;
    for (const { endpoint } of table.bindings) {
      if (!this.#routes.has(endpoint)) this.#routes.set(endpoint, pipeline.rpc(endpoint, "rest"));
    }
    this.#nowhere = pipeline.route(
      { name: "unknown", access: { public: true }, rate: "operator", input: undefined, streaming: false },
      "rest",
    );
  }

  /** Finds the binding and leads the call up to its body. */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const path = pathOf(request.raw.url);
    const found = this.#find(request.method === "HEAD" ? "GET" : request.method, path);
    const route = found === undefined ? this.#nowhere : (this.#routes.get(found.bound.endpoint) as Route);
    const call = openHttpCall(route, "rest", request, reply);
    const restCall = { call, route, variables: new Map(), ...found };
    this.#calls.set(request, restCall);
    await route.admit(call);
    if (found === undefined) throw nothingAt(request, reply, this.#methodsOf(path));
    this.#letIn(request.raw.socket);
    requireJson(request);
    requireKnownEncoding(request, reply, ["identity", bodyEncoding]);
    const refused = (reason: Error) => {
      // The connection ends with the answer: nobody reads what would still come.
      void sendFailure(reply.header("connection", "close"), route.fail(call, reason));
    };
    const body = pendingBody(this.#pending, request, { call, route }, refused);
    this.#calls.set(request, { ...restCall, body });
  }

  /** Reads the request, runs the handler and writes its answer. */
  async answer(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { call, route, bound, variables, body: pending } = this.#calls.get(request) as Required<RestCall>;
    pending.end();
    const { endpoint, binding } = bound;
    const body = await bodyOf(request, endpoint);
    const { message, written } = await requestFromHttp(bound, variables, queryOf(request), body);
    preferWait(endpoint.method, message, headerOf(request, "prefer"));
    const answer = await inNotation(endpoint, written, async () => {
      route.check(call, message);
      return answerOf(endpoint, await endpoint.handle(message, call));
    });
    const json = JSON.stringify(jsonOf(endpoint, answer, binding.responseBody));
    this.#unread.requireRoom(call, Buffer.byteLength(json));
    if (call.abortReason !== undefined) throw call.abortReason;
    route.succeed(call);
    const applied = appliedPreference(endpoint.method, answer);
    if (applied !== undefined) void reply.header("preference-applied", applied);
    return reply.code(200).type(jsonType).header("cache-control", "no-store").send(json);
  }

  /** Answers with an error, wherever on the way it happened. */
  fail(request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
    const known = this.#calls.get(request);
    const route = known?.route ?? this.#nowhere;
    const call = known?.call ?? openHttpCall(route, "rest", request, reply);
    return sendFailure(reply, route.fail(call, asHttpError(thrown) ?? thrown));
  }

  #find(verb: string, path: string) {
    for (const bound of this.#bindings) {
      if (bound.binding.verb !== verb) continue;
      const variables = matched(bound, path);
      if (variables !== undefined) return { bound, variables };
    }
    return undefined;
  }

  /** The methods that the path has, here or among the routes that are no RPCs. */
  #methodsOf(path: string): string[] {
    const bound = this.#bindings.filter((each) => matched(each, path) !== undefined);
    return [...bound.map(({ binding }) => binding.verb), ...this.#rawPaths.methodsOf(path)];
  }
}

/** Has the fields of a refusal named as the caller wrote them. */
async function inNotation<T>(
  endpoint: UnaryEndpoint,
  written: JsonValue,
  serve: () => Promise<T>,
): Promise<T> {
  try {
    return await serve();
  } catch (error) {
    throw error instanceof OtaError ? inCallerNotation(error, endpoint.method.input, written) : error;
  }
}

function matched({ binding }: BoundEndpoint, path: string): ReadonlyMap<string, string> | undefined {
  try {
    return binding.template.match(path);
  } catch (error) {
    throw new OtaError("invalid_argument", "INVALID_REQUEST", "the path is not validly percent-encoded", {
      cause: error,
    });
  }
}

/** The query's parameters. URLSearchParams itself takes what is not validly percent-encoded for text, or for U+FFFD. */
function queryOf({ raw: { url = "/" } }: FastifyRequest): URLSearchParams {
  const begin = url.indexOf("?");
  const query = begin === -1 ? "" : url.slice(begin + 1);
  try {
    decodeURIComponent(query);
  } catch (cause) {
    throw new OtaError("invalid_argument", "INVALID_REQUEST", "the query is not validly percent-encoded", {
      cause,
    });
  }
  return new URLSearchParams(query);
}

function headerOf({ headers }: FastifyRequest, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}

function requireJson({ headers }: FastifyRequest): void {
  const type = headers["content-type"];
  if (type !== undefined && !/^application\/(?:json|[\w.-]+\+json)\s*(?:;|$)/i.test(type)) {
    throw unsupportedMediaType();
  }
}

async function bodyOf(
  { body, headers }: FastifyRequest,
  endpoint: UnaryEndpoint,
): Promise<JsonValue | undefined> {
  if (!Buffer.isBuffer(body) || body.length === 0) return undefined;
  const isCompressed = headers["content-encoding"]?.toLowerCase() === bodyEncoding;
  return jsonFromBody(isCompressed ? await inflated(body, maxBodyBytes) : body, endpoint);
}

function jsonOf(endpoint: UnaryEndpoint, answer: Message, field: DescField | undefined): JsonValue {
  // Zeros and empty lists are written too: a reader of JSON cannot know the fields that are missing.
  const json = toJson(endpoint.method.output, answer, { alwaysEmitImplicit: true });
  return field === undefined ? json : ((json as JsonObject)[field.jsonName] ?? null);
}
