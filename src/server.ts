import { join } from "node:path";
import type { Logger } from "pino";
import type { FirstSecrets } from "./access/bootstrap.ts";
import { serviceSecret } from "./access/service-secrets.ts";
import { ConsoleSessions } from "./api/console/console-session.ts";
import { sessionRoutes } from "./api/console/console-session-routes.ts";
import { issuerSignInRoutes } from "./api/console/issuer-sign-in-routes.ts";
import { downloadRoute } from "./api/download/download-route.ts";
import { exportRoute } from "./api/download/export-route.ts";
import { GrpcDoor } from "./api/grpc/grpc-door.ts";
import { ServingState } from "./api/grpc/health-handlers.ts";
import { HttpApp, type HttpTls } from "./api/http-app.ts";
import { Pipeline } from "./api/pipeline/pipeline.ts";
import { Places } from "./api/pipeline/places.ts";
import { RateLimiter } from "./api/pipeline/rate-limit.ts";
import { SharedRates, sharedClasses } from "./api/pipeline/shared-rates.ts";
import { PortTls } from "./api/tls/port-tls.ts";
import { openAccess } from "./assembly/access.ts";
import { openAlerts } from "./assembly/alerts.ts";
import { identifierOf } from "./assembly/caller-identifier.ts";
import { openDevices } from "./assembly/devices.ts";
import { endpointTable } from "./assembly/endpoints.ts";
import { type Foundation, openFoundation } from "./assembly/foundation.ts";
import { openOidc } from "./assembly/oidc.ts";
import { cutShutOutDevices } from "./assembly/shut-out-devices.ts";
import { showState } from "./assembly/state-metrics.ts";
import { tellWantedRotations } from "./assembly/token-rotation-directives.ts";
import { openTuf } from "./assembly/tuf.ts";
import { openUpdates } from "./assembly/updates.ts";
import type { Config } from "./config.ts";
import { crashLogRoutes } from "./crash/crash-log-routes.ts";
import { symbolFileRoutes } from "./crash/symbol-file-routes.ts";
import { OtaError } from "./errors.ts";
import { attachmentRoutes } from "./firmware/attachment-routes.ts";
import { tufRoutes } from "./firmware/repository/tuf-routes.ts";
import type { MachineClock } from "./infra/clock.ts";
import type { Database } from "./infra/database/database.ts";
import { asDatabaseError } from "./infra/database/errors.ts";
import { RateReports } from "./infra/database/rate-reports.ts";
import type { LogOutput } from "./infra/log-output.ts";
import { packageFolder } from "./package-folder.ts";
import { downloadOpener } from "./rollout/offer/update-handlers.ts";
import { exportOpener } from "./telemetry/telemetry-handlers.ts";

export type { FirstSecrets } from "./access/bootstrap.ts";

/** What the service is started with. */
export interface ServerOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** Where the log goes, if the metrics shall tell what it loses. */
  readonly logOutput?: LogOutput;
  /**
   * Shows the secrets that a first start makes, which can never be read again: they work once it has. Without it none are
   * made.
   */
  readonly showFirstSecrets?: (secrets: FirstSecrets) => Promise<void>;
  /** The clocks of the machine; the real ones unless given. */
  readonly clock?: MachineClock;
  /** Ends the wait for a database that does not answer, or that another process migrates; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** A service that runs. */
export interface RunningServer extends AsyncDisposable {
  /** Where REST, Connect, health and metrics are, for example `http://127.0.0.1:8080`. */
  readonly httpUrl: string;
  /** Where gRPC is, for example `127.0.0.1:50051`. */
  readonly grpcAddress: string;
  /** The database in use, with its password. */
  readonly databaseUrl: string;
  /**
   * Drains and stops: devices are told to reconnect, what is queued is written and acknowledged, then everything is
   * closed. It takes at most the setting DRAIN_SECONDS and a little. Idempotent.
   */
  close(): Promise<void>;
}

/**
 * Starts the whole service. Nothing is left behind if it fails. Throws `DATABASE_UNAVAILABLE`, whose exit code asks the
 * supervisor to try again, if the database does not answer.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  try {
    return await start(options);
  } catch (error) {
    throw asDatabaseError(error) ?? error;
  }
}

async function start(options: ServerOptions): Promise<RunningServer> {
  const { config, logger, logOutput, clock: machine, signal } = options;
  await using opened = new AsyncDisposableStack();
  const serving = new ServingState();
  const foundation = await openFoundation(config, logger, opened, {
    ...(machine && { machine }),
    ...(signal && { signal }),
  });
  const { clock, metrics, database, databaseUrl, storeProbe, descriptors } = foundation;
  const access = await openAccess(foundation, opened, {
    signingKeyRevoked: (keyId, why) => updates.rollouts.signingKeyRevoked(keyId, why),
  });
  const { authenticator, endedSessions, refusals } = access;
  const oidc = openOidc(foundation, opened);
  const devices = await openDevices(foundation, access, opened);
  const updates = await openUpdates(foundation, access, devices, opened);
  const { streams, waiting, rollouts, crashes, telemetry, ingest, scrub, orphans } = updates;

  const tls = await openTls(foundation);
  const alerts = openAlerts(foundation, access, devices, updates, () => tls?.expiresAt, opened);

  const { connections, outages, pingMs } = config;
  const rateLimiter = new RateLimiter(
    config.rateLimits,
    clock,
    config.rateShareMs > 0 ? sharedClasses : undefined,
  );
  if (config.rateShareMs > 0) shareRates(foundation, rateLimiter);
  const sessionKey = await serviceSecret(database, "console sessions");
  const sessions = new ConsoleSessions({
    secret: sessionKey,
    clock,
    ended: endedSessions,
    people: oidc?.tokens,
  });
  const places = new Places(config.places, config.trustedProxies);
  const pipeline = new Pipeline({
    authenticator: sessions.identifier(identifierOf({ authenticator, deviceKeys: devices.keys, oidc })),
    certificates: devices.certificates,
    rateLimiter,
    places,
    translateError: asDatabaseError,
    logger,
    metrics: metrics.rpc,
    tracing: foundation.tracing,
    clock,
    pendingRequests: config.pendingRequests,
    unreadAnswers: config.unreadAnswers,
    refusals,
    trustedProxies: config.trustedProxies,
  });
  cutShutOutDevices(devices.changes, [streams, waiting, pipeline]);
  tellWantedRotations(devices.changes, streams);
  for (const work of pipeline.background) foundation.background.add(work);
  const tuf = openTuf(foundation, access);
  const table = endpointTable({
    foundation,
    access,
    oidc,
    devices,
    updates,
    tuf,
    alerts,
    rateLimiter,
    places,
    serving,
  });

  const httpApp = opened.use(
    await HttpApp.create({
      pipeline,
      table,
      metrics,
      readiness: [
        { name: "serving", check: async () => requireServing(serving) },
        {
          name: "database",
          check: (signal) => database.probeWrite(signal),
          goodForMs: outages.writeProbeMs,
        },
        { name: "ingest", check: async () => ingest.checkProgress(outages.ingestStallMs) },
        { name: "migrations", check: () => requireMigrated(database) },
        { name: "store", check: (signal) => storeProbe.check(signal) },
      ],
      rawRoutes: [
        exportRoute(exportOpener(telemetry.exports)),
        downloadRoute(
          downloadOpener({
            offers: rollouts.offers,
            directUrls: updates.directUrls,
            metrics: metrics.updates,
          }),
        ),
        ...crashLogRoutes(crashes.logs),
        ...symbolFileRoutes(crashes.symbols),
        ...attachmentRoutes(updates.attachments),
        ...tufRoutes(tuf, config.tuf),
        ...sessionRoutes(sessions, (token) => authenticator.identify(token)),
        ...issuerSignInRoutes({ issuer: oidc?.console, sessions, secret: sessionKey, clock }),
      ],
      corsOrigins: config.corsOrigins,
      trustedProxies: config.trustedProxies,
      connections: { ...connections, descriptors: descriptors.share("last") },
      tls: httpTls(config, tls),
      console: { sessions, folder: consoleFolder },
    }),
  );
  const grpcDoor = opened.use(
    new GrpcDoor(pipeline, table, {
      connections: { ...connections, descriptors: descriptors.share("most") },
      pingMs,
    }),
  );
  for (const work of [...httpApp.background, ...grpcDoor.background]) foundation.background.add(work);
  showState(metrics, {
    devices: devices.fleet.counters,
    streams,
    waiting,
    rollouts,
    ingest,
    scrub,
    orphans,
    clock,
    readiness: httpApp.readiness,
    connections: { grpc: grpcDoor, http: httpApp },
    logOutput,
  });

  const grpc = await grpcDoor.listen({ host: config.host, port: config.grpcPort, tls });
  const http = await httpApp.listen({ host: config.host, port: config.httpPort });
  await access.letFirstIn(options.showFirstSecrets);
  serving.set(true);

  const resources = opened.move();
  let closing: Promise<void> | undefined;
  const close = async () => {
    serving.set(false);
    const signal = AbortSignal.timeout(config.drainSeconds * 1_000);
    waiting.drain();
    await streams.drain({ ratePerSecond: drainedPerSecond, reconnectWithinMs: reconnectWithinMs, signal });
    const graceMs = farewellMs;
    await Promise.all([grpcDoor.close({ graceMs, signal }), httpApp.close({ graceMs, signal })]);
    await ingest.close();
    await resources.disposeAsync();
    logger.info("stopped");
  };
  const server: RunningServer = {
    httpUrl: `${config.tls?.http === true ? "https" : "http"}://${hostInUrl(http.address)}:${http.port}`,
    grpcAddress: `${hostInUrl(grpc.address)}:${grpc.port}`,
    databaseUrl,
    close: () => {
      closing ??= close();
      return closing;
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
  return server;
}

/** Where `make console` puts the console. */
export const consoleFolder = join(packageFolder, "dist", "console");

/** Streams sent away in a second when stopping: about as many as another replica takes in. */
const drainedPerSecond = 500;

/** The time over which devices that were sent away come back. */
const reconnectWithinMs = 10_000;

/** How long open calls may take to finish once the streams are gone. */
const farewellMs = 2_000;

/** Counts over all replicas what is shared. */
function shareRates({ config, background, database, clock }: Foundation, rateLimiter: RateLimiter): void {
  const rates = new SharedRates({ rateLimiter, reports: new RateReports(database.pool, clock) });
  background.round({
    name: "rate_reports",
    everyMs: config.rateShareMs,
    atOnce: true,
    work: () => rates.exchange(),
  });
}

async function openTls({
  config,
  clock,
  logger,
  background,
  metrics,
}: Foundation): Promise<PortTls | undefined> {
  const tls = config.tls && (await PortTls.open(config.tls, { clock, logger }));
  if (tls !== undefined) {
    background.add(tls.round);
    tls.round.start();
  }
  metrics.observeEach(
    "tls_certificate_expiry_timestamp_seconds",
    "When the certificate of the ports ends, in seconds since 1970; no value without TLS.",
    [],
    () => expiry(tls?.expiresAt),
  );
  metrics.observeEach(
    "tls_revocations_expiry_timestamp_seconds",
    "When the first revocation list of devices' certificates ends, and with it all of these, in seconds since 1970; no value without one.",
    [],
    () => expiry(tls?.revocationsExpireAt),
  );
  return tls;
}

function expiry(at: Date | undefined): [Record<never, string>, number][] {
  return at === undefined ? [] : [[{}, at.getTime() / 1_000]];
}

function httpTls({ tls }: Config, port: PortTls | undefined): HttpTls | undefined {
  return port === undefined || tls?.http !== true ? undefined : { port, hstsSeconds: tls.hstsSeconds };
}

function requireServing(serving: ServingState): void {
  if (!serving.serving)
    throw new OtaError("unavailable", "SHUTTING_DOWN", "the service is starting or stopping");
}

async function requireMigrated(database: Database): Promise<void> {
  const pending = await database.pendingMigrations();
  if (pending.length > 0) {
    throw new OtaError(
      "unavailable",
      "DATABASE_UNAVAILABLE",
      `migrations are missing: ${pending.join(", ")}`,
    );
  }
}

function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
