import { status } from "@grpc/grpc-js";
import { Client as S3Client } from "minio";
import pg from "pg";
import { expect, inject, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { NamedHosts } from "../support/named-hosts.ts";
import { PolledDevice } from "../support/polled-device.ts";
import { createTestDatabase, query } from "../support/postgres.ts";
import { startTestService, type TestService } from "../support/service.ts";
import {
  acknowledged,
  type StreamingDevice,
  startDevices,
  statusOf,
  untilAcked,
} from "../support/streaming-device.ts";
import { type S3Server, startSwift, swiftIsInstalled } from "../support/swift.ts";

it("a slow database, one that gives no connection, and one whose name is gone or moves: nothing acknowledged is lost, and it is said", async () => {
  await using cleanup = new AsyncDisposableStack();
  const hosts = cleanup.use(new NamedHosts());
  const database = cleanup.use(await createTestDatabase({ partitioned: true }));
  const primary = cleanup.use(await FaultProxy.start(new URL(database.url).host));
  const port = Number(new URL(`tcp://${primary.address}`).port);
  const standby = cleanup.use(
    await FaultProxy.start(new URL(database.url).host, undefined, { host: standbyHost, port }),
  );
  const url = new URL(database.serviceUrl);
  url.host = `${databaseName}:${port}`;
  hosts.set(databaseName, primaryHost);
  const swift = swiftIsInstalled() ? cleanup.use(await startSwift()) : undefined;
  if (swift !== undefined) await makeBucket(swift);
  hosts.set(storeName, primaryHost);
  const service = cleanup.use(
    await startTestService({
      databaseUrl: url.href,
      settings: {
        DEVICE_OTA_RATE_LIMIT_HEARTBEAT: "off",
        DEVICE_OTA_WRITE_PROBE_SECONDS: "1",
        DEVICE_OTA_STORE_TIMEOUT_SECONDS: "3",
        ...(swift && {
          DEVICE_OTA_STORAGE_TYPE: "s3",
          DEVICE_OTA_STORAGE_S3_ENDPOINT: `http://${storeName}:${new URL(swift.endpoint).port}`,
          DEVICE_OTA_STORAGE_S3_BUCKET: bucket,
          DEVICE_OTA_STORAGE_S3_ACCESS_KEY: swift.accessKey,
          DEVICE_OTA_STORAGE_S3_SECRET_KEY: swift.secretKey,
        }),
      },
    }),
  );
  const history = new DeliveryHistory();
  const devices = await startDevices(service, 20, { history });
  const running = cleanup.use(new AsyncDisposableStack());
  for (const device of devices) running.use(device);
  await untilAcked(devices, 3);

  // Every query takes 200 ms more: slower, and nothing else.
  primary.delay(100);
  await untilAcked(devices, 5);
  await updateDevice(service);
  await untilReady(service);
  primary.heal();

  // Somebody holds a table, and with it each connection that comes for it, up to the last of a pool. Heartbeats have one of
  // their own.
  const holder = await holdAuditLog(database.url);
  cleanup.defer(() => holder.end());
  const enough = new AbortController();
  const calls = makeTokens(service, enough.signal);
  await untilNotReady(
    service,
    "database",
    /^the database has no connection free: all \d+ of the pool orm are in use/,
  );
  await untilAcked(devices, 10);
  expect(await statusOf(service.httpUrl, "/health/live")).toBe(200);
  enough.abort();
  for (const refusal of await calls)
    expect(refusal).toMatchObject({ code: status.UNAVAILABLE, reason: "DATABASE_UNAVAILABLE" });
  await holder.query("COMMIT");
  await untilReady(service);

  // A role that may always enter is bound by no limit.
  if (inject("serviceUrl") !== inject("databaseUrl")) {
    await limitConnections(database.url, 0);
    await untilNotReady(service, "database", /^the database takes no more connections/);
    await untilNothingIsAcked(service, devices);
    await limitConnections(database.url, -1);
    await untilReady(service);
    await untilAcked(devices, 40);
  }

  // The machine of the database is gone, and with it its name; then the name leads to another machine.
  hosts.set(databaseName, undefined);
  primary.refuse();
  primary.cut();
  await untilNotReady(service, "database", /^the database has a host name that does not resolve/);
  hosts.set(databaseName, standbyHost);
  await untilReady(service);
  await untilAcked(devices, 40);
  expect(standby.accepted).toBeGreaterThan(0);

  // Nobody says where the name leads: what asks waits no longer than for anything else.
  hosts.hang(databaseName);
  standby.cut();
  await untilNotReady(
    service,
    "database",
    /^the database has a host name that cannot be resolved at the moment/,
  );
  expect(await statusOf(service.httpUrl, "/health/live")).toBe(200);
  hosts.set(databaseName, standbyHost);
  await untilReady(service);
  await untilAcked(devices, 10);

  // The same with a machine that goes without a word: its connections stay, and nothing comes of them.
  primary.heal();
  standby.blackHole();
  await untilNotReady(service, "database", /./);
  // What that machine's sessions held went with it.
  await endSessions(database.url);
  hosts.set(databaseName, primaryHost);
  await untilReady(service);
  await untilAcked(devices, 40);
  // A call may still meet a connection to the machine before, which answers nothing: it is told to try again.
  await eventually(() => updateDevice(service));

  if (swift !== undefined) {
    hosts.set(storeName, undefined);
    await untilNotReady(service, "store", /^the object store has a host name that does not resolve/);
    await untilAcked(devices, 10);
    hosts.hang(storeName);
    await untilNotReady(service, "store", /^(?:no answer in time|the object store )/);
    await untilAcked(devices, 10);
    hosts.set(storeName, primaryHost);
    await untilReady(service);
    await updateDevice(service);
  }

  await running.disposeAsync();
  expect(devices.map(({ streams, rejected }) => ({ streams, rejected }))).toEqual(
    devices.map(() => ({ streams: 1, rejected: [] })),
  );
  expect(await history.check(database.url)).toEqual([]);
});

const databaseName = "database.test";
const storeName = "store.test";
const primaryHost = "127.0.0.1";
const standbyHost = "127.0.0.2";
const bucket = "faults";

async function makeBucket({ endpoint, accessKey, secretKey }: S3Server): Promise<void> {
  const { hostname: endPoint, port } = new URL(endpoint);
  await new S3Client({ endPoint, port: Number(port), useSSL: false, accessKey, secretKey }).makeBucket(
    bucket,
  );
}

/** Publishes a firmware, and takes a device all the way to it. */
async function updateDevice(service: TestService): Promise<void> {
  const rpc = service.client();
  const { id, product } = await publish(service, newContent(1_000));
  const device = await PolledDevice.enrol(rpc, service.enrolmentKey);
  await device.joinGroup(rpc, product);
  await rpc.unary(FirmwareService.method.deployFirmware, {
    id,
    policy: { verificationDuration: {} },
    rings: [{ name: "all", percent: 100, gate: { minSample: 1, minSuccessPercent: 60, soakDuration: {} } }],
  });
  await device.update(service);
}

/** Locks the audit log until the connection ends. */
async function holdAuditLog(databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  await client.query("BEGIN; LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE");
  return client;
}

/** Makes tokens, more at once than there are connections, again and again until it is enough; returns what became of each call. */
async function makeTokens(service: TestService, enough: AbortSignal): Promise<unknown[]> {
  const rpc = service.client();
  const outcomes: unknown[] = [];
  const makeOften = async (_: unknown, maker: number) => {
    for (let time = 0; !enough.aborted; time++) {
      const call = rpc.unary(AccessService.method.createToken, {
        name: `token ${maker} ${time}`,
        role: Role.VIEWER,
      });
      outcomes.push(await call.catch((error: unknown) => error));
    }
  };
  await Promise.all(Array.from({ length: 12 }, makeOften));
  return outcomes;
}

/** As with a server whose places are taken; -1 is no limit. */
async function limitConnections(databaseUrl: string, limit: number): Promise<void> {
  const name = new URL(databaseUrl).pathname.slice(1);
  await query(databaseUrl, `ALTER DATABASE ${name} CONNECTION LIMIT ${limit}`);
  await endSessions(databaseUrl);
}

async function endSessions(databaseUrl: string): Promise<void> {
  await query(
    databaseUrl,
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
  );
}

async function untilNothingIsAcked(service: TestService, devices: readonly StreamingDevice[]): Promise<void> {
  const before = acknowledged(devices);
  await untilNotReady(service, "ingest", /^no heartbeat was stored for .*takes no more connections/);
  expect(acknowledged(devices)).toEqual(before);
}

async function untilReady({ httpUrl }: TestService): Promise<void> {
  await eventually(async () => expect(await checksOf(httpUrl)).toEqual({}));
}

/** Waits until readiness fails at the check, with these words and a time. */
async function untilNotReady({ httpUrl }: TestService, check: string, words: RegExp): Promise<void> {
  await eventually(async () => expect((await checksOf(httpUrl))[check]).toMatch(words));
}

/** What readiness finds wrong, by check. */
async function checksOf(httpUrl: string): Promise<Record<string, string>> {
  const answer = await fetch(`${httpUrl}/health/ready`);
  const { checks } = (await answer.json()) as { checks: Record<string, string> };
  const wrong = Object.entries(checks).filter(([, outcome]) => outcome !== "ok");
  expect(answer.status).toBe(wrong.length === 0 ? 200 : 503);
  return Object.fromEntries(wrong);
}
