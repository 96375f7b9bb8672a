import type { AddressInfo, BlockList, Socket } from "node:net";
import { cors as connectCors } from "@connectrpc/connect";
import { type FastifyCorsOptions, fastifyCors } from "@fastify/cors";
import { type FastifyInstance, fastify } from "fastify";
import { isListed } from "../call/address.ts";
import { OtaError } from "../errors.ts";
import type { BackgroundWork } from "../infra/background/work-log.ts";
import type { Metrics } from "../infra/metrics.ts";
import { registerConnectDoor } from "./connect/connect-door.ts";
import { isRpcPath, noSuchRpc, sendRpcFailure } from "./connect/connect-refusals.ts";
import { registerConsoleFiles } from "./console/console-files.ts";
import type { ConsoleSessions } from "./console/console-session.ts";
import { watchAnswers } from "./http/answer-watch.ts";
import { type LetIn, sendFailure } from "./http/http-call.ts";
import { lingerAtClose } from "./http/lingering-close.ts";
import { RawPaths } from "./http/raw-paths.ts";
import { type RawRoute, registerRawRoute } from "./http/raw-route.ts";
import { originForm, pathOf, refuseUnclearTargets } from "./http/request-target.ts";
import { securityHeaders } from "./http/security-headers.ts";
import { type AnswerNothing, nothingAt, UnroutedRequests } from "./http/unrouted-requests.ts";
import { descriptionRoutes } from "./openapi/description-routes.ts";
import { ConnectionGuard, type ConnectionLimits } from "./pipeline/connection-guard.ts";
import type { EndpointTable } from "./pipeline/endpoint-table.ts";
import type { Pipeline } from "./pipeline/pipeline.ts";
import { probeRoutes } from "./probe-routes.ts";
import { Readiness, type ReadinessCheck } from "./readiness.ts";
import { registerRestDoor } from "./rest/rest-door.ts";
import type { PortTls } from "./tls/port-tls.ts";

/** What the HTTP port is made of. */
export interface HttpAppParts {
  readonly pipeline: Pipeline;
  readonly table: EndpointTable;
  readonly metrics: Metrics;
  readonly readiness: readonly ReadinessCheck[];
  readonly rawRoutes: readonly RawRoute[];
  /** Origins whose scripts may call; without any, only pages of this very service. */
  readonly corsOrigins: readonly string[];
  /** The proxies whose `x-forwarded-for` names the caller. */
  readonly trustedProxies: BlockList;
  readonly connections: ConnectionLimits;
  /** Undefined: the port is in clear. */
  readonly tls?: HttpTls | undefined;
  /** The console that is served at `/`; undefined: none. */
  readonly console: ConsoleParts | undefined;
}

/** TLS of the HTTP port. */
export interface HttpTls {
  readonly port: PortTls;
  /** For how long browsers are to reach this host by TLS alone; 0 tells them nothing. */
  readonly hstsSeconds: number;
}

/** What the console needs of the HTTP port. */
interface ConsoleParts {
  /** Turn its session cookie into a credential for every door. */
  readonly sessions: ConsoleSessions;
  /** Where it was built. */
  readonly folder: string;
}

/** The HTTP port: Connect and gRPC-Web, REST, raw routes, health, metrics, and the console. */
export class HttpApp implements AsyncDisposable {
  /** For plugins; the doors are registered already. */
  readonly fastify: FastifyInstance;
  readonly #parts: HttpAppParts;
  /** Whether the service can do its work, as its probes tell. */
  readonly readiness: Readiness;
  readonly #guard: ConnectionGuard;
  readonly #unrouted: UnroutedRequests;
  readonly #shutdown = new AbortController();
  #closing: Promise<void> | undefined;

  private constructor(parts: HttpAppParts) {
    this.#parts = parts;
    this.readiness = new Readiness(parts.readiness, parts.pipeline.parts.logger);
    const { clock, logger, metrics } = parts.pipeline.parts;
    this.#guard = new ConnectionGuard({
      name: "http",
      limits: parts.connections,
      clock,
      logger,
      refused: (reason) => metrics.refusedConnection("http", reason),
    });
    this.#unrouted = new UnroutedRequests(parts.pipeline);
    this.fastify = openFastify(parts, this.#unrouted);
    // By TLS this is the connection below it.
    this.fastify.server.on("connection", (socket: Socket) => this.#guard.accept(socket));
    this.fastify.server.on(parts.tls === undefined ? "connection" : "secureConnection", lingerAtClose);
  }

  /** How many connections are open. */
  get openConnections(): number {
    return this.#guard.open;
  }

  /** What goes on by itself. */
  get background(): readonly BackgroundWork[] {
    return [this.#guard.round];
  }

  /** Puts everything together; {@link listen} opens the port. */
  static async create(parts: HttpAppParts): Promise<HttpApp> {
    const app = new HttpApp(parts);
    await app.#register();
    return app;
  }

  /** Opens the port; 0 takes a free one. */
  async listen(options: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    await this.fastify.listen({ host: options.host, port: options.port });
    const { address, port } = this.address;
    this.#parts.pipeline.parts.logger.info(
      { host: address, port, tls: this.#parts.tls !== undefined },
      "HTTP door is open",
    );
    return this.address;
  }

  /** Where it listens. */
  get address(): AddressInfo {
    const address = this.fastify.server.address();
    if (address === null || typeof address === "string") throw new Error("the HTTP door is not open");
    return address;
  }

  /**
   * Takes no more connections, lets open calls finish for `graceMs` (or until the signal aborts), then aborts and cuts
   * them. Idempotent.
   */
  close(
    options: { readonly graceMs: number; readonly signal?: AbortSignal } = { graceMs: 0 },
  ): Promise<void> {
    this.#closing ??= this.#close(options.graceMs, options.signal);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(graceMs: number, signal: AbortSignal | undefined): Promise<void> {
    const cut = () => {
      this.#shutdown.abort(new OtaError("unavailable", "SHUTTING_DOWN", "the service is stopping"));
      // Time for the last answers to leave.
      setTimeout(() => this.fastify.server.closeAllConnections(), farewellMs).unref();
    };
    const timer = setTimeout(cut, graceMs);
    signal?.addEventListener("abort", cut, { once: true });
    if (signal?.aborted === true) cut();
    try {
      await this.fastify.close();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cut);
    }
  }

  async #register(): Promise<void> {
    const { pipeline, table, metrics, corsOrigins, rawRoutes, console } = this.#parts;
    const app = this.fastify;
    app.addHook("onRequest", securityHeaders(this.#parts.tls?.hstsSeconds ?? 0));
    watchAnswers(app, pipeline.unreadAnswers);
    refuseUnclearTargets(app, pipeline);
    // Pages and probes need no credential: whatever was not refused counts as let in.
    app.addHook("onResponse", async ({ raw }, { statusCode }) => {
      if (statusCode < 400) this.#guard.admitted(raw.socket);
    });
    if (console !== undefined) {
      app.addHook("onRequest", async (request) => {
        request.headers.authorization ??= console.sessions.authorizationOf(request);
      });
    }
    if (corsOrigins.length > 0) await app.register(fastifyCors, crossOrigin(corsOrigins));
    const letIn: LetIn = (connection) => this.#guard.admitted(connection);
    const { clock } = pipeline.parts;
    const probes = probeRoutes({ readiness: this.readiness, metrics, clock });
    const raws = [...probes, ...descriptionRoutes(), ...rawRoutes];
    for (const raw of raws) registerRawRoute(app, pipeline, raw, letIn);
    await registerConnectDoor(app, pipeline, table, { shutdown: this.#shutdown.signal, letIn });
    const rawPaths = new RawPaths(raws);
    await registerRestDoor(app, pipeline, table, { letIn, rawPaths });
    const answerNothing: AnswerNothing = (request, reply, fail) => {
      const path = pathOf(request.raw.url);
      if (isRpcPath(path)) return sendRpcFailure(request, reply, fail(noSuchRpc(path)));
      return sendFailure(reply, fail(nothingAt(request, reply, rawPaths.methodsOf(path))));
    };
    if (console === undefined) {
      app.setNotFoundHandler((request, reply) => this.#unrouted.answer(request, reply, answerNothing));
    } else await registerConsoleFiles(app, pipeline, console.folder, answerNothing);
  }
}

function openFastify({ tls, trustedProxies }: HttpAppParts, unrouted: UnroutedRequests): FastifyInstance {
  const options = {
    logger: false,
    rewriteUrl: originForm,
    // Fastify asks also when the client has gone, and with it its address.
    trustProxy: (address: string | undefined) => address !== undefined && isListed(address, trustedProxies),
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    forceCloseConnections: "idle" as const,
    return503OnClosing: true,
    frameworkErrors: unrouted.malformed,
    clientErrorHandler: unrouted.unreadable,
  };
  const timeouts = { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: 5_000 };
  if (tls === undefined) return fastify({ ...options, http: timeouts });
  // HTTP/1.1 alone, by ALPN too: what HTTP/2 lets a stranger do is bounded at the gRPC port, and not here.
  const https = { ...tls.port.options, ...timeouts, ALPNProtocols: ["http/1.1"] };
  const secure = fastify({ ...options, https });
  tls.port.keep(secure.server);
  return secure;
}

/** For a request to arrive as a whole: long enough for a slow uplink, short enough that trickling bytes holds nothing. */
const requestTimeoutMs = 300_000;

/** For the headers of a request to arrive (slowloris). */
const headersTimeoutMs = 20_000;

/** Above the idle time-out of usual load balancers (60 s), so that they never reuse a connection that is just closing. */
const keepAliveTimeoutMs = 72_000;

const farewellMs = 500;

/**
 * Lets scripts of listed origins call (Fetch standard, section 3.2); the preflights of others are answered as any other
 * call is. The console's cookie is for its own origin alone, so credentials are not allowed.
 */
function crossOrigin(origins: readonly string[]): FastifyCorsOptions {
  return {
    origin: (origin, allow) => allow(null, origin !== undefined && origins.includes(origin) ? origin : false),
    methods: [...new Set([...connectCors.allowedMethods, "PUT", "PATCH", "DELETE"])],
    allowedHeaders: [...connectCors.allowedHeaders, "authorization", "x-request-id", "range"],
    exposedHeaders: [...connectCors.exposedHeaders, "x-request-id", "retry-after"],
    maxAge: preflightMaxAgeSeconds,
  };
}

const preflightMaxAgeSeconds = 7_200;
