import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "../src/config.ts";
import { createLogger } from "../src/infra/logger.ts";
import { EMBEDDED_ROLES } from "../src/infra/postgres/roles.ts";
import { startServer } from "../src/server.ts";
import { measuredArgument, serveMeasurements } from "./harness/measured-side.ts";

/** The whole service, as `device-ota serve` runs it, on embedded PostgreSQL and a local store in a temporary folder. */
const { settings } = measuredArgument<{ settings: Record<string, string> }>();
const folder = await mkdtemp(join(tmpdir(), "device-ota-bench-"));
const adminToken = "bench-admin-token-0123456789";
const storageFolder = join(folder, "firmware");

const server = await startServer({
  config: readConfig({
    DEVICE_OTA_DATA_DIR: folder,
    DEVICE_OTA_STORAGE_BASE_PATH: storageFolder,
    DEVICE_OTA_HTTP_PORT: "0",
    DEVICE_OTA_GRPC_PORT: "0",
    DEVICE_OTA_ADMIN_TOKEN: adminToken,
    DEVICE_OTA_LOG_LEVEL: "warn",
    DEVICE_OTA_RATE_LIMIT_API: "off",
    DEVICE_OTA_RATE_LIMIT_HEARTBEAT_BYTES: "off",
    DEVICE_OTA_DRAIN_SECONDS: "1",
    ...settings,
  }),
  logger: createLogger({ level: "warn", pretty: false }),
});

const { httpUrl, grpcAddress } = server;
// Fleets are put past the triggers, and floors make tables of their own: the service's role may do neither.
const databaseUrl = server.databaseUrl.replace(
  `//${EMBEDDED_ROLES.service}@`,
  `//${EMBEDDED_ROLES.superuser}@`,
);
serveMeasurements({ grpcAddress, httpUrl, databaseUrl, adminToken, storageFolder }, async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});
