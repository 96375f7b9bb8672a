import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { readConfig } from "../../src/config.ts";
import { type MachineClock, systemClock } from "../../src/infra/clock.ts";
import { ErrorTracker } from "../../src/infra/error-tracking/error-tracker.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { type RunningServer, startServer } from "../../src/server.ts";
import { createTestDatabase } from "./postgres.ts";

/** A whole service for one test: every door on a free port, a database of its own, objects in a temporary folder. */
export interface TestService extends AsyncDisposable {
  readonly server: RunningServer;
  readonly httpUrl: string;
  readonly grpcAddress: string;
  /** As a role that may do everything; the service itself works as one that reads and writes rows. */
  readonly databaseUrl: string;
  readonly dataDir: string;
  /** An administrator's token. */
  readonly adminToken: string;
  readonly enrolmentKey: string;
  /** A gRPC client with that token or another one; closed with the service. */
  client(token?: string): RpcClient;
}

/** What a test service is started with. */
export interface TestServiceOptions {
  /** Settings beside those that tests need, for example `DEVICE_OTA_REQUIRE_SIGNATURE`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A database to use instead of a fresh one. */
  readonly databaseUrl?: string;
  /** The clocks of its machine, which may be wrong. */
  readonly clock?: MachineClock;
  /** Takes every line of its log, as JSON; without it there is none. */
  readonly log?: (line: string) => void;
}

/** Starts the product as it is, in this process. Dispose it with `await using`: it then drains as on SIGTERM. */
export async function startTestService(options: TestServiceOptions = {}): Promise<TestService> {
  const opened = new AsyncDisposableStack();
  try {
    const dataDir = await mkdtemp(join(tmpdir(), "device-ota-test-"));
    opened.defer(() => rm(dataDir, { recursive: true, force: true }));
    // A clock of its own may be on other days.
    const made = options.clock === undefined ? ({ partitioned: true } as const) : {};
    const { url: databaseUrl, serviceUrl } =
      options.databaseUrl === undefined
        ? opened.use(await createTestDatabase(made))
        : { url: options.databaseUrl, serviceUrl: options.databaseUrl };
    const config = readConfig({
      DEVICE_OTA_DATABASE_URL: serviceUrl,
      DEVICE_OTA_DATA_DIR: dataDir,
      DEVICE_OTA_HTTP_PORT: "0",
      DEVICE_OTA_GRPC_PORT: "0",
      DEVICE_OTA_ADMIN_TOKEN: adminToken,
      DEVICE_OTA_ENROLMENT_KEY: enrolmentKey,
      DEVICE_OTA_RATE_LIMIT_ENROL: "off",
      // Tests ask over and over whether something has happened, as nothing else does.
      DEVICE_OTA_RATE_LIMIT_UPDATE_CHECK: "off",
      DEVICE_OTA_RATE_LIMIT_PROBE: "off",
      DEVICE_OTA_HEARTBEAT_INTERVAL_SECONDS: "1",
      DEVICE_OTA_DRAIN_SECONDS: "5",
      ...options.settings,
    });
    const { log } = options;
    const errors = config.errorTracking && opened.use(new ErrorTracker(config.errorTracking, systemClock));
    const logger = createLogger({
      level: log === undefined ? "silent" : "debug",
      pretty: false,
      ...(log && { destination: { write: log } }),
      ...(errors && { onError: (error, fields) => errors.report(error, fields) }),
    });
    const server = opened.use(
      await startServer({ config, logger, ...(options.clock && { clock: options.clock }) }),
    );
    const { httpUrl, grpcAddress } = server;
    return {
      server,
      httpUrl,
      grpcAddress,
      databaseUrl,
      dataDir,
      adminToken,
      enrolmentKey,
      client: (token = adminToken) => opened.use(new RpcClient({ address: grpcAddress, token })),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

const adminToken = "test-admin-token-0123456789";

const enrolmentKey = "test-enrolment-key-0123456789";
