import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { Health } from "../gen/grpc/health/v1/health_pb.js";
import { accessEndpoints } from "./access/access-handlers.ts";
import { AuditLog } from "./access/audit-log.ts";
import { Authenticator } from "./access/authenticator.ts";
import { bootstrapAccess, type FirstSecrets } from "./access/bootstrap.ts";
import { DeviceCredentials } from "./access/device-credentials.ts";
import { EnrolmentKeys } from "./access/enrolment-keys.ts";
import { OperatorTokens } from "./access/operator-tokens.ts";
import { serviceSecret } from "./access/service-secrets.ts";
import { SigningKeys } from "./access/signing-keys.ts";
import { downloadRoute } from "./api/download-route.ts";
import { contractServices, EndpointTable } from "./api/endpoint-table.ts";
import { GrpcDoor } from "./api/grpc-door.ts";
import { healthEndpoints, ServingState } from "./api/health-handlers.ts";
import { HttpApp } from "./api/http-app.ts";
import { PageTokens } from "./api/page-token.ts";
import { Pipeline } from "./api/pipeline.ts";
import { RateLimiter } from "./api/rate-limit.ts";
import { reflectionEndpoints } from "./api/reflection-handlers.ts";
import type { Config } from "./config.ts";
import { DeviceChanges } from "./device/device-changes.ts";
import { DeviceDirectory } from "./device/device-directory.ts";
import { DeviceEnrolment } from "./device/device-enrolment.ts";
import { deviceEndpoints } from "./device/device-handlers.ts";
import { DeviceRegistry } from "./device/device-registry.ts";
import { StateWriter } from "./device/state-writer.ts";
import { type OpenUpdates, StatusOverview } from "./device/status-overview.ts";
import { entities } from "./entities.ts";
import { OtaError } from "./errors.ts";
import { FirmwareCatalog } from "./firmware/firmware-catalog.ts";
import { FirmwareDownloads } from "./firmware/firmware-downloads.ts";
import { firmwareEndpoints } from "./firmware/firmware-handlers.ts";
import { FirmwareUploads } from "./firmware/firmware-uploads.ts";
import { SignOff } from "./firmware/sign-off.ts";
import type { Directive } from "./heartbeat/directive.ts";
import { heartbeatEndpoints } from "./heartbeat/heartbeat-handlers.ts";
import { HeartbeatHistory } from "./heartbeat/heartbeat-history.ts";
import { HeartbeatIngest } from "./heartbeat/heartbeat-ingest.ts";
import { HeartbeatStreams } from "./heartbeat/heartbeat-streams.ts";
import { HeartbeatPartitions } from "./heartbeat/partitions.ts";
import { StreamOpenings } from "./heartbeat/stream-openings.ts";
import { systemClock } from "./infra/clock.ts";
import { Database } from "./infra/database/database.ts";
import { asDatabaseError } from "./infra/database/errors.ts";
import { migrateUp } from "./infra/database/migrate.ts";
import { RequestLedger } from "./infra/database/request-ledger.ts";
import { Metrics } from "./infra/metrics.ts";
import { LocalObjectStore } from "./infra/objects/local-object-store.ts";
import type { ObjectStore } from "./infra/objects/object-store.ts";
import { S3ObjectStore } from "./infra/objects/s3-object-store.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./infra/postgres/embedded-postgres.ts";
import { deployEndpoints } from "./rollout/deploy-handlers.ts";
import { RolloutEngine } from "./rollout/rollout-engine.ts";
import { rolloutEndpoints } from "./rollout/rollout-handlers.ts";
import { RetiredDeviceUpdates, RolloutFirmwareUse } from "./rollout/rollout-observers.ts";
import { downloadOpener, updateEndpoints } from "./rollout/update-handlers.ts";

/** What the service is started with. */
export interface ServerOptions {
  readonly config: Config;
  readonly logger: Logger;
}

/** A service that runs. */
export interface RunningServer extends AsyncDisposable {
  /** Where REST, Connect, health and metrics are, for example `http://127.0.0.1:8080`. */
  readonly httpUrl: string;
  /** Where gRPC is, for example `127.0.0.1:50051`. */
  readonly grpcAddress: string;
  /** The database in use, with its password. */
  readonly databaseUrl: string;
  /** Secrets that were made at this start and can never be read again. */
  readonly firstCredentials: FirstSecrets;
  /**
   * Drains and stops: devices are told to reconnect, what is queued is written and acknowledged, then everything is
   * closed. It takes at most the setting DRAIN_SECONDS and a little. Idempotent.
   */
  close(): Promise<void>;
}

/** Starts the whole service. Nothing is left behind if it fails. */
export async function startServer({ config, logger }: ServerOptions): Promise<RunningServer> {
  await using opened = new AsyncDisposableStack();
  const clock = systemClock;
  const metrics = new Metrics({ processMetrics: true });
  const serving = new ServingState();

  const databaseUrl = config.databaseUrl ?? (await embeddedDatabase(config, logger, opened)).url;
  await migrateUp(databaseUrl, { logger });
  const database = opened.use(await Database.connect({ url: databaseUrl, logger, entities }));
  const store = opened.use(objectStore(config));

  // Access.
  const audit = new AuditLog({ database });
  const ledger = new RequestLedger();
  const authenticator = opened.adopt(new Authenticator({ database, clock }), (it) => it.close());
  const firstCredentials = await bootstrapAccess({
    database,
    audit,
    memory: authenticator,
    clock,
    logger,
    adminToken: config.adminToken,
    enrolmentKey: config.enrolmentKey,
  });
  const credentials = new DeviceCredentials({ clock, memory: authenticator });
  const enrolmentKeys = new EnrolmentKeys({ database, ledger, audit, clock });
  const tokens = new OperatorTokens({ database, ledger, audit, memory: authenticator, clock });
  const signingKeys = new SigningKeys({
    database,
    audit,
    clock,
    revoked: { signingKeyRevoked: (keyId, why) => rollouts.signingKeyRevoked(keyId, why) },
  });
  const pageTokens = new PageTokens(await serviceSecret(database, "page tokens"));

  // Devices.
  const heartbeatIntervalMs = config.heartbeat.intervalSeconds * 1_000;
  const changes = opened.adopt(new DeviceChanges({ database }), (it) => it.close());
  const states = new StateWriter({ database, logger });
  const directory = opened.adopt(new DeviceDirectory({ database, changes, states, clock, logger }), (it) =>
    it.close(),
  );
  const enrolment = new DeviceEnrolment({
    database,
    ledger,
    keys: enrolmentKeys,
    credentials,
    audit,
    changes,
  });
  const registry = new DeviceRegistry({
    database,
    credentials,
    audit,
    changes,
    states,
    retired: [new RetiredDeviceUpdates(clock)],
    clock,
  });

  // Firmware.
  const signOff = new SignOff(
    signingKeys,
    { requireSignature: config.requireSignature, signatureThreshold: config.signatureThreshold },
    clock,
  );
  const firmware = new FirmwareCatalog({
    database,
    ledger,
    audit,
    store,
    signOff,
    inUse: new RolloutFirmwareUse(),
    clock,
  });
  const uploads = opened.adopt(new FirmwareUploads({ catalog: firmware, store }), (it) => it.close());
  const downloads = new FirmwareDownloads(store);

  // Rollouts and heartbeats: the first reach devices through the streams of the second, which bring them the proof.
  const streams = new HeartbeatStreams({ maxStreams: config.maxStreams });
  const rollouts = opened.use(
    await RolloutEngine.start({
      database,
      audit,
      ledger,
      firmware,
      downloads,
      devices: directory,
      clock,
      logger,
      metrics: metrics.updates,
      settings: {
        signatureThreshold: config.signatureThreshold,
        failureThresholdPercent: config.rollback.failureThresholdPercent,
        deviceTimeoutMs: config.rollback.timeoutHours * 3_600_000,
        deadlineGraceMs: graceIntervals * heartbeatIntervalMs,
      },
    }),
  );
  rollouts.sendDirectivesTo(streams);
  changes.subscribe(rollouts);
  const openUpdates = updatesIn(rollouts);
  const partitions = opened.use(
    new HeartbeatPartitions({
      pool: database.adminPool,
      clock,
      logger,
      retentionDays: config.heartbeat.retentionDays,
    }),
  );
  await partitions.start();
  const ingest = opened.use(
    new HeartbeatIngest({
      pool: database.ingestPool,
      partitions,
      observers: [directory, rollouts],
      metrics: metrics.ingest,
      clock,
      logger,
      limits: {
        maxRows: config.heartbeat.queueRows,
        maxBytes: config.heartbeat.queueBytes,
        flushRows: config.heartbeat.flushRows,
        lingerMs: config.heartbeat.flushMs,
      },
    }),
  );
  changes.subscribe({
    deviceChanged: ({ deviceId, kind }) => {
      if (kind !== "updated") streams.disconnect(deviceId, credentialsGone());
    },
  });

  const rateLimiter = new RateLimiter(config.rateLimits, clock);
  const pipeline = new Pipeline({
    authenticator,
    rateLimiter,
    translateError: asDatabaseError,
    logger,
    metrics: metrics.rpc,
    clock,
  });
  const table = new EndpointTable([
    ...accessEndpoints({ tokens, enrolmentKeys, signingKeys, audit, pageTokens }),
    ...deviceEndpoints({
      enrolment,
      registry,
      overview: new StatusOverview({
        database,
        updates: openUpdates,
        streams,
        clock,
        heartbeatIntervalMs,
      }),
      updates: openUpdates,
      pageTokens,
      clock,
      heartbeatIntervalMs,
    }),
    ...firmwareEndpoints({ catalog: firmware, uploads, pageTokens }),
    ...deployEndpoints({ catalog: rollouts.catalog, clock }),
    ...rolloutEndpoints({ catalog: rollouts.catalog, watch: rollouts.watch, pageTokens, clock }),
    ...updateEndpoints({ desk: rollouts.desk, metrics: metrics.updates }),
    ...heartbeatEndpoints({
      ingest,
      streams,
      openings: new StreamOpenings(database.adminPool),
      observers: [rollouts],
      consumeRate: (deviceId, points) => rateLimiter.consume("heartbeat", deviceId, points),
      history: new HeartbeatHistory(database.adminPool),
      pendingDirectives: (deviceId) => waitingUpdates(rollouts, deviceId),
      pageTokens,
      clock,
      logger,
      heartbeatIntervalMs,
      heartbeatJitterMs: heartbeatIntervalMs / jitterShare,
    }),
    ...healthEndpoints(serving, contractServices),
    ...reflectionEndpoints([...contractServices, Health]),
  ]);

  const httpApp = opened.use(
    await HttpApp.create({
      pipeline,
      table,
      metrics,
      readiness: [
        { name: "serving", check: async () => requireServing(serving) },
        { name: "database", check: (signal) => database.ping(signal) },
        { name: "migrations", check: () => requireMigrated(database) },
        { name: "store", check: (signal) => store.check(signal) },
      ],
      rawRoutes: [downloadRoute(downloadOpener({ desk: rollouts.desk, metrics: metrics.updates }))],
      corsOrigins: config.corsOrigins,
      trustProxy: config.trustProxy,
    }),
  );
  const grpcDoor = opened.use(new GrpcDoor(pipeline, table, { maxStreams: config.maxStreams }));
  opened.use(housekeeping(database, ledger, store, logger));
  metrics.observe(
    "heartbeat_streams",
    "Devices with a heartbeat stream open to this replica.",
    () => streams.size,
  );
  metrics.observe("open_updates", "Device updates that are not over.", () => rollouts.tracker.size);

  const tls = config.tls && {
    certificate: await readFile(config.tls.certFile),
    privateKey: await readFile(config.tls.keyFile),
  };
  const grpc = await grpcDoor.listen({ host: config.host, port: config.grpcPort, tls });
  const http = await httpApp.listen({ host: config.host, port: config.httpPort });
  serving.set(true);

  const resources = opened.move();
  let closing: Promise<void> | undefined;
  const close = async () => {
    serving.set(false);
    const signal = AbortSignal.timeout(config.drainSeconds * 1_000);
    await streams.drain({ ratePerSecond: drainedPerSecond, reconnectWithinMs: reconnectWithinMs, signal });
    const graceMs = farewellMs;
    await Promise.all([grpcDoor.close({ graceMs, signal }), httpApp.close({ graceMs, signal })]);
    await ingest.close();
    await resources.disposeAsync();
    logger.info("stopped");
  };
  const server: RunningServer = {
    httpUrl: `http://${hostInUrl(http.address)}:${http.port}`,
    grpcAddress: `${hostInUrl(grpc.address)}:${grpc.port}`,
    databaseUrl,
    firstCredentials,
    close: () => {
      closing ??= close();
      return closing;
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
  return server;
}

/** The share of the heartbeat interval that devices add at random. */
const jitterShare = 10;

/** After a start or an outage devices have this many heartbeat intervals to be heard from before a deadline passes. */
const graceIntervals = 3;

/** Streams sent away in a second when stopping: about as many as another replica takes in. */
const drainedPerSecond = 500;

/** The time over which devices that were sent away come back. */
const reconnectWithinMs = 10_000;

/** How long open calls may take to finish once the streams are gone. */
const farewellMs = 2_000;

/** What nobody touched for this long is thrown away, in an hourly round. */
const staleUploadMs = 24 * 3_600_000;

const housekeepingMs = 3_600_000;

async function embeddedDatabase(
  config: Config,
  logger: Logger,
  opened: AsyncDisposableStack,
): Promise<EmbeddedPostgres> {
  return opened.use(await startEmbeddedPostgres({ dataDir: join(config.dataDir, "postgres"), logger }));
}

/** The tracker holds every open update, so nobody has to ask the database. */
function updatesIn({ tracker }: RolloutEngine): OpenUpdates {
  return {
    openUpdateCount: async () => tracker.size,
    openUpdateIds: async (deviceIds) => {
      const ids = new Map<string, string>();
      for (const deviceId of deviceIds) {
        const update = tracker.get(deviceId);
        if (update !== undefined) ids.set(deviceId, update.id);
      }
      return ids;
    },
  };
}

/** What a device that polls is told with the answer to its heartbeat; a device that is not in memory learns it next time. */
function waitingUpdates({ desk }: RolloutEngine, deviceId: string): Directive[] {
  const rolloutId = desk.waitingFor(deviceId);
  if (rolloutId instanceof Promise) {
    rolloutId.catch(() => undefined);
    return [];
  }
  return rolloutId === undefined ? [] : [{ id: randomUUID(), kind: "update_available", rolloutId }];
}

function objectStore({ storage, dataDir }: Config): ObjectStore {
  if (storage.type === "local") return new LocalObjectStore(storage.basePath, systemClock);
  return new S3ObjectStore(
    {
      endpoint: storage.endpoint ?? `https://s3.${storage.region}.amazonaws.com`,
      bucket: storage.bucket,
      accessKey: storage.accessKey ?? "",
      secretKey: storage.secretKey ?? "",
      region: storage.region,
      stagingFolder: join(dataDir, "staging"),
    },
    systemClock,
  );
}

/** Forgets old request ids and abandoned uploads, at start and every hour. */
function housekeeping(
  database: Database,
  ledger: RequestLedger,
  store: ObjectStore,
  logger: Logger,
): Disposable {
  const round = async () => {
    try {
      await ledger.purge(database.em());
      await store.collectStale(staleUploadMs);
    } catch (error) {
      logger.warn({ err: error }, "housekeeping failed; the next round tries again");
    }
  };
  void round();
  const timer = setInterval(() => void round(), housekeepingMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
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

function credentialsGone(): OtaError {
  return new OtaError("unauthenticated", "CREDENTIAL_REVOKED", "the device's credentials were revoked");
}

function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
