import { execFile } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { AlertService } from "../../gen/ota/v1/alert_service_pb.js";
import { RpcClient } from "../../src/client/rpc-client.ts";
import { DeliveryHistory } from "../support/delivery-history.ts";
import { newContent, publish } from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startDevices, untilAcked, untilStatus } from "../support/streaming-device.ts";
import { ServiceProcess } from "./service-process.ts";

const limit = 160;

/** The command line, in a shell that may open no more than that. */
const program = [
  "sh",
  "-c",
  `ulimit -n ${limit}; exec "$@"`,
  "sh",
  process.execPath,
  join(import.meta.dirname, "../../src/main.ts"),
] as const;

it.skipIf(process.platform !== "linux")(
  "a process that may open hardly any more files refuses connections and says so; with none left it goes on, and recovers",
  async () => {
    await using cleanup = new AsyncDisposableStack();
    const database = cleanup.use(await createTestDatabase({ partitioned: true }));
    const settings = {
      DEVICE_OTA_LOG_LEVEL: "info",
      DEVICE_OTA_AUTHENTICATION_SECONDS: "3600",
      // Of so few a tenth would not be enough for the connections to the database that are still to come.
      DEVICE_OTA_DESCRIPTORS_PERCENT: "70",
    };
    const service = cleanup.use(await ServiceProcess.start(database.url, settings, program));
    const rpc = cleanup.use(new RpcClient({ address: service.grpcAddress, token: service.adminToken }));
    const firing = async () =>
      (await rpc.unary(AlertService.method.listAlerts, {})).alerts.map(({ rule }) => rule);
    expect(await firing()).toEqual([]);
    const history = new DeliveryHistory();
    const devices = await startDevices(service, 5, { history });
    const running = cleanup.use(new AsyncDisposableStack());
    for (const device of devices) running.use(device);
    await untilAcked(devices, 3);

    const crowd = cleanup.adopt(crowdAt(service.grpcAddress, limit), (sockets) => {
      for (const socket of sockets) socket.destroy();
    });
    await eventually(async () => expect(await firing()).toContain("descriptors.scarce"));
    expect(service.log).toMatch(/of the 160 files and connections that the process may have open are in use/);
    // What is left serves those who are there, and whoever looks after the service, as soon as those who were refused are gone.
    await eventually(async () => expect(await refusedConnections(service)).toBeGreaterThan(0));
    await untilStatus(service.httpUrl, "/health/ready", 200);
    await publish({ client: () => rpc }, newContent(1_000));
    await untilAcked(devices, 5);

    // Not one is left, whoever took the rest.
    await allow(service.pid, await openFiles(service.pid));
    await eventually(async () => expect(await isTurnedAway(service.httpUrl)).toBe(true));
    await untilAcked(devices, 5);
    await allow(service.pid, limit);
    for (const socket of crowd) socket.destroy();

    await eventually(() => expect(service.log).toMatch(/there are enough descriptors again/));
    const more = await startDevices(service, 1, { history });
    for (const device of more) running.use(device);
    await untilAcked(more, 3);
    await running.disposeAsync();
    expect(devices.map(({ streams }) => streams)).toEqual(devices.map(() => 1));
    expect(await history.check(database.url)).toEqual([]);
    expect(await service.signal("SIGTERM")).toBe(0);
  },
  120_000,
);

/** Connections of somebody who says nothing. */
function crowdAt(address: string, count: number): Socket[] {
  const { hostname, port } = new URL(`tcp://${address}`);
  return Array.from({ length: count }, () => connect(Number(port), hostname).on("error", () => undefined));
}

/** Whether a new connection is ended without a word. */
async function isTurnedAway(httpUrl: string): Promise<boolean> {
  const { hostname, port } = new URL(httpUrl);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined).resume();
  try {
    await once(socket, "connect");
    socket.write("GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    await once(socket, "close");
    return socket.bytesRead === 0;
  } finally {
    socket.destroy();
  }
}

/** Connections that the gRPC port has refused for want of descriptors. */
async function refusedConnections({ httpUrl }: ServiceProcess): Promise<number> {
  const text = await (await fetch(`${httpUrl}/metrics`)).text();
  const line = /^device_ota_connections_refused_total\{door="grpc",reason="descriptors"\} (\d+)$/m;
  return Number(line.exec(text)?.[1] ?? 0);
}

async function openFiles(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}

/** Sets how many files and connections a process may have open. */
async function allow(pid: number, most: number): Promise<void> {
  await promisify(execFile)("prlimit", ["--pid", String(pid), `--nofile=${most}:`]);
}
