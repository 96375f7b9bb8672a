import { randomUUID } from "node:crypto";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { FirmwareService } from "../../gen/ota/v1/firmware_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

/** Reads whose callers leave, or whose deadlines pass, while the database works on them. */

let service: TestService;
let other: pg.Client;
beforeAll(async () => {
  service = await startTestService();
  other = new pg.Client({ connectionString: service.databaseUrl });
  await other.connect();
});
afterAll(async () => {
  await other.end();
  await service[Symbol.asyncDispose]();
});

/** How long a caller waits who sets a deadline: long enough for its statement to begin. */
const deadlineMs = 1_000;
const deviceId = randomUUID();

/** One read by each way to the database, with the table that it needs. */
const reads = {
  "a list": { table: "firmware_updates", path: "/api/v1/firmware" },
  "a list of devices": { table: "devices", path: "/api/v1/devices" },
  "a count": { table: "devices", path: "/api/v1/devices:count?filter=groups:berlin" },
  "the history of a device": { table: "device_heartbeats", path: `/api/v1/heartbeat/${deviceId}` },
} as const;
type Read = keyof typeof reads;

interface Leaving {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/** By a client of Connect's: as one of its protocols has it. */
function byTransport(transport: Transport) {
  return (read: Read, { signal, timeoutMs }: Leaving): Promise<unknown> => {
    const options = { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    switch (read) {
      case "a list":
        return createClient(FirmwareService, transport).listFirmware({}, options);
      case "a list of devices":
        return createClient(DeviceService, transport).listDevices({}, options);
      case "a count":
        return createClient(DeviceService, transport).countDevices({ filter: "groups:berlin" }, options);
      case "the history of a device":
        return createClient(HeartbeatService, transport).listHeartbeats({ deviceId }, options);
    }
  };
}

const authorize = (next: (request: never) => unknown) => (request: { header: Headers }) => {
  request.header.set("authorization", `Bearer ${service.adminToken}`);
  return next(request as never);
};

const doors: Readonly<Record<string, (read: Read, leaving: Leaving) => Promise<unknown>>> = {
  gRPC: (read, { signal, timeoutMs }) => {
    const client = service.client();
    const options = { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    switch (read) {
      case "a list":
        return client.unary(FirmwareService.method.listFirmware, {}, options);
      case "a list of devices":
        return client.unary(DeviceService.method.listDevices, {}, options);
      case "a count":
        return client.unary(DeviceService.method.countDevices, { filter: "groups:berlin" }, options);
      case "the history of a device":
        return client.unary(HeartbeatService.method.listHeartbeats, { deviceId }, options);
    }
  },
  Connect: (read, leaving) => byTransport(createConnectTransport(transportOptions()))(read, leaving),
  "gRPC-Web": (read, leaving) => byTransport(createGrpcWebTransport(transportOptions()))(read, leaving),
  REST: (read, { signal }) =>
    fetch(new URL(reads[read].path, service.httpUrl), {
      signal,
      headers: { authorization: `Bearer ${service.adminToken}` },
    }),
};

function transportOptions() {
  return {
    baseUrl: service.httpUrl,
    httpVersion: "1.1" as const,
    interceptors: [authorize as never],
  };
}

/** How many statements of the service wait for the table, and how many connections told the server to end one since then. */
async function seen(since: Date): Promise<{ waiting: number; cancelled: number }> {
  const { rows } = await other.query<{ waiting: number; cancelled: number }>(
    `SELECT count(*) FILTER (WHERE wait_event_type = 'Lock')::int AS waiting,
       count(*) FILTER (WHERE query LIKE '%pg_cancel_backend%' AND query_start > $1)::int AS cancelled
     FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'device-ota %'`,
    [since],
  );
  return rows[0] ?? { waiting: 0, cancelled: 0 };
}

/** What the read's table is locked for, so that the statement cannot end by itself before it is told to. */
async function whileLocked(
  read: Read,
  leave: (reading: { onceWaiting: () => Promise<void>; cancelled: () => Promise<number> }) => Promise<void>,
) {
  const since = (await other.query<{ now: Date }>("SELECT clock_timestamp() AS now")).rows[0]?.now as Date;
  const locker = new pg.Client({ connectionString: service.databaseUrl });
  await locker.connect();
  try {
    await locker.query("BEGIN");
    await locker.query(`LOCK TABLE ${reads[read].table} IN ACCESS EXCLUSIVE MODE`);
    await leave({
      onceWaiting: () => eventually(async () => expect((await seen(since)).waiting).toBeGreaterThan(0)),
      cancelled: async () => (await seen(since)).cancelled,
    });
    await eventually(async () => expect((await seen(since)).cancelled).toBeGreaterThan(0));
  } finally {
    await locker.end();
  }
}

describe.each(Object.entries(doors))("by %s", (door, call) => {
  it.each(Object.keys(reads) as Read[])("%s ends in the database when its caller leaves", async (read) => {
    await whileLocked(read, async ({ onceWaiting }) => {
      const caller = new AbortController();
      const calling = call(read, { signal: caller.signal }).then(
        () => "answered",
        () => "left",
      );
      await onceWaiting();
      caller.abort();
      expect(await calling).toBe("left");
    });
    // The connections go on with other statements.
    expect(await call("a list", { signal: new AbortController().signal })).toBeDefined();
  });

  // REST has no deadlines but those that end the connection.
  it.skipIf(door === "REST")("a list ends in the database when its deadline passes", async () => {
    await whileLocked("a list", async ({ cancelled }) => {
      const { signal } = new AbortController();
      // Again if the deadline passed before there was a statement.
      await eventually(async () => {
        await expect(call("a list", { signal, timeoutMs: deadlineMs })).rejects.toThrow();
        expect(await cancelled()).toBeGreaterThan(0);
      });
    });
  });
});
