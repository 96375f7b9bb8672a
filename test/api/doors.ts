import { BlockList } from "node:net";
import { fileURLToPath } from "node:url";
import type { DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { type Logger, pino } from "pino";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { GrpcDoor } from "../../src/api/grpc/grpc-door.ts";
import type { GrpcPortOptions } from "../../src/api/grpc/grpc-port.ts";
import { healthEndpoints, ServingState } from "../../src/api/grpc/health-handlers.ts";
import { reflectionEndpoints } from "../../src/api/grpc/reflection-handlers.ts";
import { HttpApp, type HttpAppParts } from "../../src/api/http-app.ts";
import type { AccessRule } from "../../src/api/pipeline/access-rule.ts";
import type { CallerIdentifier } from "../../src/api/pipeline/call.ts";
import type { ConnectionLimits } from "../../src/api/pipeline/connection-guard.ts";
import type { Endpoint } from "../../src/api/pipeline/endpoint.ts";
import { EndpointTable } from "../../src/api/pipeline/endpoint-table.ts";
import type { PendingRequestLimits } from "../../src/api/pipeline/pending-requests.ts";
import { methodName, Pipeline } from "../../src/api/pipeline/pipeline.ts";
import { type PlaceLimits, Places } from "../../src/api/pipeline/places.ts";
import { RateLimiter, type RateLimits } from "../../src/api/pipeline/rate-limit.ts";
import type { UnreadAnswerLimits } from "../../src/api/pipeline/unread-answers.ts";
import { PortTls, type PortTlsSettings } from "../../src/api/tls/port-tls.ts";
import type { Identity } from "../../src/call/identity.ts";
import { OtaError } from "../../src/errors.ts";
import { type Clock, systemClock } from "../../src/infra/clock.ts";
import { Metrics } from "../../src/infra/metrics.ts";
import { tlsSettings } from "../../src/tls-settings.ts";

/** The device that the token `device` belongs to. */
export const deviceId = "0190f3a0-0000-7000-8000-000000000001";
export const otherDeviceId = "0190f3a0-0000-7000-8000-000000000002";

/** A token is the name of its holder. */
const holders: Readonly<Record<string, Identity>> = {
  device: { kind: "device", deviceId, credentialId: "c" },
  viewer: { kind: "operator", tokenId: "v", name: "viewer", role: "viewer" },
  operator: { kind: "operator", tokenId: "o", name: "operator", role: "operator" },
  admin: { kind: "operator", tokenId: "a", name: "admin", role: "admin" },
};

const noLimits: RateLimits = {
  enrol: undefined,
  heartbeat: undefined,
  update_check: undefined,
  download: undefined,
  device: undefined,
  device_read: undefined,
  operator: undefined,
  sign_in: undefined,
  probe: undefined,
  page: undefined,
  credential: undefined,
  refusal: undefined,
};

/** Both ports over a table of tiny handlers; what a test leaves out of the services is filled up with refusals. */
export interface Doors extends AsyncDisposable {
  readonly grpcAddress: string;
  readonly httpUrl: string;
  readonly grpc: GrpcDoor;
  readonly http: HttpApp;
  readonly pipeline: Pipeline;
  readonly table: EndpointTable;
  readonly metrics: Metrics;
  readonly serving: ServingState;
  /** Lines that were logged, parsed. */
  readonly logged: Record<string, unknown>[];
  /** Makes a client that the test's end closes. */
  client(token?: string, options?: Record<string, number | string>): Client;
}

export interface DoorsOptions {
  readonly services: readonly DescService[];
  readonly endpoints: readonly Endpoint[];
  readonly rateLimits?: Partial<RateLimits>;
  readonly places?: Partial<PlaceLimits>;
  readonly stallMs?: number;
  readonly pingMs?: number;
  readonly pendingRequests?: Partial<PendingRequestLimits>;
  readonly unreadAnswers?: Partial<UnreadAnswerLimits>;
  readonly connections?: Partial<ConnectionLimits>;
  readonly tls?: GrpcPortOptions["tls"];
  readonly translateError?: (error: unknown) => OtaError | undefined;
  /** Answers identities late, as a miss of the credential cache does. */
  readonly slowIdentity?: boolean;
  /** Says who calls where that is not only by token. */
  readonly identifier?: (tokens: CallerIdentifier) => CallerIdentifier;
  readonly http?: Partial<
    Pick<HttpAppParts, "readiness" | "rawRoutes" | "corsOrigins" | "trustedProxies" | "console">
  >;
  readonly restAccess?: AccessRule<unknown>;
  /** The machine's, if not given. */
  readonly clock?: Clock;
  /** The pipeline, where it is not quite the service's. */
  readonly Pipeline?: typeof Pipeline;
}

export async function openDoors(options: DoorsOptions): Promise<Doors> {
  const { clock = systemClock } = options;
  const logged: Record<string, unknown>[] = [];
  const logger: Logger = pino(
    { level: "debug", base: null, serializers: { err: pino.stdSerializers.errWithCause } },
    { write: (line: string) => void logged.push(JSON.parse(line)) },
  );
  const metrics = new Metrics({ processMetrics: false });
  const tokens: CallerIdentifier = {
    identify: (token) => (options.slowIdentity ? Promise.resolve().then(() => holder(token)) : holder(token)),
    identifyAgain: (token) => tokens.identify(token),
    onChange: () => {},
  };
  const pipeline = new (options.Pipeline ?? Pipeline)({
    authenticator: options.identifier?.(tokens) ?? tokens,
    rateLimiter: new RateLimiter({ ...noLimits, ...options.rateLimits }, clock),
    places: new Places(
      {
        heartbeats: { most: 100, perCaller: 100 },
        update_checks: { most: 100, perCaller: 100 },
        downloads: { most: 100, perCaller: 100 },
        crash_logs: { most: 100, perCaller: 100 },
        operators: { most: 100, perCaller: 100 },
        anonymous: { most: 100, perCaller: 100 },
        ...options.places,
      },
      new BlockList(),
    ),
    translateError: options.translateError ?? (() => undefined),
    logger,
    metrics: metrics.rpc,
    clock,
    pendingRequests: {
      timeoutMs: 60_000,
      bytes: 64 * 1024 * 1024,
      bytesPerCaller: 16 * 1024 * 1024,
      ...options.pendingRequests,
    },
    unreadAnswers: {
      timeoutMs: 60_000,
      bytes: 64 * 1024 * 1024,
      bytesPerCaller: 16 * 1024 * 1024,
      ...options.unreadAnswers,
    },
    refusals: { note: () => {} },
    trustedProxies: options.http?.trustedProxies ?? new BlockList(),
  });
  const serving = new ServingState();
  serving.set(true);
  const table = new EndpointTable(
    [
      ...completed(
        options.services,
        options.endpoints,
        options.restAccess ?? { role: "viewer", device: true },
      ),
      ...healthEndpoints(serving, options.services),
      ...reflectionEndpoints([...options.services, Health]),
    ],
    options.services,
  );
  const connections: ConnectionLimits = {
    most: 10_000,
    unauthenticatedPerAddress: 1_000,
    authenticationMs: 60_000,
    unlimited: new BlockList(),
    ...options.connections,
  };
  const grpc = new GrpcDoor(pipeline, table, {
    connections,
    // Tests wait for what was sent before by pings.
    pingMs: options.pingMs ?? 0.001,
    ...(options.stallMs === undefined ? {} : { stallMs: options.stallMs }),
  });
  const { port } = await grpc.listen({ host: "127.0.0.1", port: 0, tls: options.tls });
  const http = await HttpApp.create({
    pipeline,
    table,
    metrics,
    readiness: [],
    rawRoutes: [],
    corsOrigins: [],
    trustedProxies: new BlockList(),
    connections,
    console: undefined,
    tls: options.tls && { port: options.tls, hstsSeconds: 600 },
    ...options.http,
  });
  const address = await http.listen({ host: "127.0.0.1", port: 0 });
  const grpcAddress = `127.0.0.1:${port}`;
  const clients: Client[] = [];
  return {
    grpcAddress,
    httpUrl: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${address.port}`,
    grpc,
    http,
    pipeline,
    table,
    metrics,
    serving,
    logged,
    client(token, clientOptions) {
      const client = new TokenClient(grpcAddress, token, clientOptions);
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await Promise.all([grpc.close({ graceMs: 0 }), http.close({ graceMs: 0 })]);
    },
  };
}

/** TLS with the certificate of fixtures/, or with other files and rules. */
export function localhostTls(
  settings: Partial<PortTlsSettings> = {},
  logger = pino({ level: "silent" }),
  clock: Clock = systemClock,
) {
  const fixture = (name: string) =>
    fileURLToPath(new URL(`./fixtures/localhost-${name}.pem`, import.meta.url));
  return PortTls.open(
    {
      certFile: fixture("certificate"),
      keyFile: fixture("key"),
      minVersion: "TLSv1.2",
      ciphers: tlsSettings.tlsCiphers.default,
      reloadMs: 60_000,
      ...settings,
    },
    { clock, logger },
  );
}

/** A gRPC client that knows its token. */
class TokenClient extends Client {
  readonly token: string | undefined;

  constructor(address: string, token: string | undefined, options: Record<string, number | string> = {}) {
    super(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1, ...options });
    this.token = token;
  }
}

/** The metadata that a client sends. */
export function metadataOf(client: Client, extra: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  const { token } = client as TokenClient;
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  for (const [name, value] of Object.entries(extra)) metadata.set(name, value);
  return metadata;
}

/** A method's path and codecs, as grpc-js wants them. */
export function codecs<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { input: I; output: O },
): [
  path: string,
  serialize: (message: MessageInitShape<I>) => Buffer,
  deserialize: (bytes: Buffer) => MessageShape<O>,
] {
  return [
    `/${method.parent.typeName}/${method.name}`,
    (message) => Buffer.from(toBinary(method.input, create(method.input, message))),
    (bytes) => fromBinary(method.output, bytes),
  ];
}

/** Calls a unary method; rejects with grpc-js' ServiceError. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  headers: Record<string, string> = {},
): Promise<MessageShape<O>> {
  const [path, serialize, deserialize] = codecs(method);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      serialize,
      deserialize,
      request,
      metadataOf(client, headers),
      (error, answer) => {
        if (error !== null) reject(error);
        else resolve(answer as MessageShape<O>);
      },
    );
  });
}

/** The google.rpc.Status that came with a gRPC error. */
export function statusOf(error: ServiceError) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  return fromBinary(StatusSchema, bytes as Buffer);
}

/** The ErrorInfo of a gRPC error. */
export function errorInfoOf(error: ServiceError) {
  for (const detail of statusOf(error).details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) return info;
  }
  throw new Error("no ErrorInfo");
}

function holder(token: string): Identity {
  const identity = holders[token];
  if (identity === undefined) throw new OtaError("unauthenticated", "CREDENTIAL_INVALID", "unknown token");
  return identity;
}

function completed(
  services: readonly DescService[],
  endpoints: readonly Endpoint[],
  access: AccessRule<unknown>,
): Endpoint[] {
  const given = new Set(endpoints.map(methodName));
  const refuse = () => {
    throw new OtaError("unimplemented", "UNIMPLEMENTED", "not part of this test");
  };
  const missing = services
    .flatMap((service) => service.methods)
    .filter((method) => !given.has(`${method.parent.typeName}/${method.name}`))
    .map((method) => {
      const kind =
        method.methodKind === "server_streaming"
          ? "server_stream"
          : method.methodKind === "client_streaming"
            ? "client_stream"
            : method.methodKind === "bidi_streaming"
              ? "bidi_stream"
              : "unary";
      return { kind, method, access, options: { rate: "operator" }, handle: refuse } as unknown as Endpoint;
    });
  return [...endpoints, ...missing];
}
