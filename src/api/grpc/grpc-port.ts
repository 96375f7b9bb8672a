import { once } from "node:events";
import type { Http2Server, Http2Session } from "node:http2";
import { type AddressInfo, createServer, type Server as Listener } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import type { BackgroundWork } from "../../infra/background/work-log.ts";
import type { Clock } from "../../infra/clock.ts";
import { ConnectionGuard, type ConnectionLimits } from "../pipeline/connection-guard.ts";
import type { Pipeline } from "../pipeline/pipeline.ts";
import type { PortTls } from "../tls/port-tls.ts";
import { watchPings } from "./pings.ts";
import { refuseUnfitCalls } from "./unfit-calls.ts";
import { WastedCalls } from "./wasted-calls.ts";

/** Where the gRPC port listens. */
export interface GrpcPortOptions {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Undefined listens in plaintext. */
  readonly tls?: PortTls | undefined;
}

/** What the port bounds. */
export interface GrpcPortLimits {
  readonly connections: ConnectionLimits;
  /** How often a client may ping its connection, in milliseconds. */
  readonly pingMs?: number;
}

/**
 * The port of the gRPC door. grpc-js could listen by itself, but would take every connection; this one asks its
 * {@link ConnectionGuard}, and hands over those that it takes.
 */
export class GrpcPort {
  readonly guard: ConnectionGuard;
  readonly #server: Server;
  readonly #methods: ReadonlyMap<string, unknown>;
  readonly #pipeline: Pipeline;
  readonly #clock: Clock;
  readonly #pingMs: number;
  readonly #wasted = new WeakMap<Http2Session, WastedCalls>();
  #listener: Listener | undefined;
  #closed: Promise<void> | undefined;

  /** `methods`: what may be called, by path. */
  constructor(
    server: Server,
    methods: ReadonlyMap<string, unknown>,
    { connections: limits, pingMs = defaultPingMs }: GrpcPortLimits,
    pipeline: Pipeline,
  ) {
    const { clock, logger, metrics } = pipeline.parts;
    this.#server = server;
    this.#methods = methods;
    this.#pipeline = pipeline;
    this.#clock = clock;
    this.#pingMs = pingMs;
    this.guard = new ConnectionGuard({
      name: "grpc",
      limits,
      clock,
      logger,
      refused: (reason) => metrics.refusedConnection("grpc", reason),
    });
  }

  /** What goes on by itself. */
  get background(): readonly BackgroundWork[] {
    return [this.guard.round];
  }

  /** Starts to listen; the address is known when it resolves. Rejects where it cannot. */
  async listen({ host, port, tls }: GrpcPortOptions): Promise<AddressInfo> {
    // TLS ends here: grpc-js would not ask for certificates of clients without insisting on them.
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#watchSessions();
    const listener =
      tls === undefined
        ? createServer((socket) => {
            if (this.guard.accept(socket)) injector.injectConnection(socket);
          })
        : this.#secureListener(tls, injector);
    listener.listen({ host, port });
    await once(listener, "listening");
    this.#listener = listener;
    return this.address;
  }

  /** Where it listens. */
  get address(): AddressInfo {
    const address = this.#listener?.address() ?? null;
    if (address === null || typeof address === "string") throw new Error("the gRPC door is not open");
    return address;
  }

  /** A call came by this connection from nobody that is known. */
  wasted(session: Http2Session | undefined): void {
    if (session !== undefined) this.#wasted.get(session)?.add();
  }

  /**
   * Takes no more connections and calls; resolves when those that are open are over. grpc-js itself does not wait for
   * connections that it was handed.
   */
  close(): Promise<void> {
    this.#server.tryShutdown(() => {});
    this.#closed ??= new Promise((resolve) => {
      if (this.#listener === undefined) resolve();
      else this.#listener.close(() => resolve());
    });
    return this.#closed;
  }

  /** Cuts what is still open. */
  async cut(): Promise<void> {
    this.#server.forceShutdown();
    this.guard.cut();
    await this.close();
  }

  #secureListener(tls: PortTls, injector: ReturnType<Server["createConnectionInjector"]>): Listener {
    const listener = createTlsServer({ ...tls.options, ALPNProtocols: ["h2"] }, (socket) => {
      // What breaks below HTTP/2 is told to nobody else (https://github.com/nodejs/node/issues/35824).
      socket.on("error", () => {});
      injector.injectConnection(socket);
    });
    listener.on("connection", (socket) => this.guard.accept(socket));
    tls.keep(listener);
    return listener;
  }

  /** Every HTTP/2 connection. grpc-js has no public way to it; tests watch that this one works. */
  #watchSessions(): void {
    const { http2Servers } = this.#server as unknown as { http2Servers: ReadonlyMap<Http2Server, unknown> };
    for (const server of http2Servers.keys()) {
      refuseUnfitCalls(server, {
        pipeline: this.#pipeline,
        methods: this.#methods,
        refused: ({ session }) => this.wasted(session),
      });
      server.on("session", (session) => {
        const { remoteAddress, remotePort } = session.socket;
        const flooded = () => this.guard.flooded({ remoteAddress, remotePort });
        watchPings(session, { clock: this.#clock, everyMs: this.#pingMs });
        this.#wasted.set(session, new WastedCalls(session, { clock: this.#clock, flooded }));
      });
    }
  }
}

/** Below what the contract asks of devices, 60 s. */
const defaultPingMs = 10_000;
