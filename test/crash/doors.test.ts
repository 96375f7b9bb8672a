import { randomUUID } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Role } from "../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { ErrorGroupState, StackKind } from "../../gen/ota/v1/error_group_pb.js";
import { ErrorService } from "../../gen/ota/v1/error_service_pb.js";
import { Severity } from "../../gen/ota/v1/heartbeat_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import {
  bytes,
  connectClient,
  type EnrolledDevice,
  enrolDevice,
  http,
  httpRefusal,
  mintToken,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

const { method } = ErrorService;

const stack = [
  "Traceback (most recent call last):",
  '  File "/opt/app/control.py", line 10, in tick',
  "    read()",
  '  File "/opt/app/sensor.py", line 4, in read',
  "KeyError: 'temperature'",
].join("\n");

let sequence = 0;

async function send(device: EnrolledDevice, code: string, crashLogId = ""): Promise<void> {
  await service.client(device.token).unary(HeartbeatService.method.sendHeartbeat, {
    deviceId: device.id,
    heartbeats: [
      {
        sequence: BigInt(++sequence),
        firmwareVersion: "1.2.0",
        bootId: "b1",
        errors: [
          {
            code,
            severity: Severity.CRITICAL,
            message: "no reading",
            stack,
            fatal: true,
            context: { task: "control" },
            crashLogId,
          },
        ],
      },
    ],
  });
}

async function groupOf(code: string, count = 1) {
  return await eventually(async () => {
    const { groups } = await service.client().unary(method.listErrorGroups, { text: code });
    expect(groups).toHaveLength(1);
    expect(Number(groups[0]?.occurrenceCount)).toBe(count);
    return groups[0] as (typeof groups)[number];
  });
}

async function* chunks(content: Buffer, size = 256 * 1024) {
  for (let at = 0; at < content.length; at += size) yield { data: bytes(content.subarray(at, at + size)) };
}

function uploadLog(device: EnrolledDevice, content: Buffer) {
  return service.client(device.token).clientStream(method.uploadCrashLog, chunks(content));
}

describe("ErrorService", () => {
  it("shows within seconds what a device reported", async () => {
    const device = await enrolDevice(service);
    await send(device, "E_SHOWN");
    const group = await groupOf("E_SHOWN");
    expect(group).toMatchObject({
      title: "KeyError in sensor.read",
      code: "E_SHOWN",
      state: ErrorGroupState.OPEN,
      severity: Severity.CRITICAL,
      fatal: true,
      stackKind: StackKind.PYTHON,
      firstSeenVersion: "1.2.0",
    });
    const client = connectClient(service, ErrorService, service.adminToken);
    const { newestOccurrence } = await client.getErrorGroup({ id: group.id });
    expect(newestOccurrence).toMatchObject({ deviceId: device.id, firmwareVersion: "1.2.0", bootId: "b1" });
    expect(newestOccurrence?.report).toMatchObject({
      message: "no reading",
      stack,
      context: { task: "control" },
    });

    const { counts } = await client.getErrorTimeline({ id: group.id });
    expect(counts).toMatchObject([
      { firmwareVersion: "1.2.0", deviceType: "thermostat", occurrenceCount: 1n },
    ]);
    const { devices } = await client.listErrorGroupDevices({ id: group.id });
    expect(devices).toMatchObject([{ deviceId: device.id, occurrenceCount: 1n, lastSeenVersion: "1.2.0" }]);
    expect(devices[0]?.serialNumber).toMatch(/^sn-/);
    const { occurrences } = await client.listErrorOccurrences({ deviceId: device.id });
    expect(occurrences.map(({ groupId }) => groupId)).toEqual([group.id]);
  });

  it("answers over REST and records who changed a state", async () => {
    const device = await enrolDevice(service);
    await send(device, "E_REST");
    const { id } = await groupOf("E_REST");
    const token = service.adminToken;
    const list = await http(
      service,
      "GET",
      "/api/v1/errorGroups?text=E_REST&deviceType=thermostat&fatalOnly=true",
      { token },
    );
    expect(list.body.groups).toMatchObject([{ id, stackKind: "STACK_KIND_PYTHON" }]);
    const changed = await http(service, "PATCH", `/api/v1/errorGroups/${id}`, {
      token,
      body: { state: "ERROR_GROUP_STATE_RESOLVED", reason: "fixed in 1.3" },
    });
    expect(changed.body.group).toMatchObject({
      state: "ERROR_GROUP_STATE_RESOLVED",
      resolvedVersion: "1.2.0",
    });
    const { events } = await service.client().unary(AccessService.method.listAuditEvents, { resourceId: id });
    expect(events).toMatchObject([{ action: "error_group.resolve", reason: "fixed in 1.3" }]);
    const occurrences = await http(service, "GET", `/api/v1/errorOccurrences?groupId=${id}`, { token });
    expect(occurrences.body.occurrences).toHaveLength(1);
  });

  it("pages by token, and only with the same filter", async () => {
    const device = await enrolDevice(service);
    for (const code of ["E_PAGE_1", "E_PAGE_2", "E_PAGE_3"]) await send(device, code);
    await groupOf("E_PAGE_3");
    const client = service.client();
    const first = await client.unary(method.listErrorGroups, { text: "E_PAGE", pageSize: 2 });
    expect(first.groups).toHaveLength(2);
    const page = { text: "E_PAGE", pageSize: 2, pageToken: first.nextPageToken };
    const second = await client.unary(method.listErrorGroups, page);
    expect([...first.groups, ...second.groups].map(({ code }) => code).toSorted()).toEqual([
      "E_PAGE_1",
      "E_PAGE_2",
      "E_PAGE_3",
    ]);
    expect(second.nextPageToken).toBe("");
    expect(await refusal(client.unary(method.listErrorGroups, { ...page, text: "E" }))).toMatchObject({
      reason: "INVALID_PAGE_TOKEN",
    });
  });

  it("refuses what cannot be asked", async () => {
    const client = service.client();
    expect(await refusal(client.unary(method.listErrorGroups, { orderBy: "title" }))).toEqual({
      code: "INVALID_ARGUMENT",
      reason: "INVALID_REQUEST",
      fields: ["order_by"],
    });
    expect(await refusal(client.unary(method.getErrorGroup, { id: randomUUID() }))).toMatchObject({
      reason: "NOT_FOUND",
    });
    expect(await refusal(client.unary(method.listErrorOccurrences, {}))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    const viewer = await mintToken(service, Role.VIEWER);
    const change = { id: randomUUID(), state: ErrorGroupState.IGNORED };
    expect(await refusal(service.client(viewer.secret).unary(method.updateErrorGroup, change))).toMatchObject(
      { reason: "ROLE_REQUIRED" },
    );
    expect(
      await refusal(
        client.unary(method.updateErrorGroup, {
          ...change,
          state: ErrorGroupState.RESOLVED,
          resolvedVersion: "new",
        }),
      ),
    ).toMatchObject({ reason: "INVALID_VERSION", fields: ["resolved_version"] });
  });
});

describe("crash logs", () => {
  const content = Buffer.from(`${"a line of a log with ünïcode\n".repeat(20_000)}end`);

  it("come back as they were sent, by gRPC, Connect and HTTP, and are stored compressed", async () => {
    const device = await enrolDevice(service);
    const { crashLog } = await uploadLog(device, content);
    expect(crashLog).toMatchObject({ deviceId: device.id, sizeBytes: BigInt(content.length) });
    const id = crashLog?.id ?? "";

    const parts: Uint8Array[] = [];
    for await (const { data } of connectClient(service, ErrorService, service.adminToken).downloadCrashLog({
      id,
    }))
      parts.push(data);
    expect(Buffer.concat(parts).equals(content)).toBe(true);

    const response = await fetch(new URL(`/api/v1/crashLogs/${id}`, service.httpUrl), {
      headers: { authorization: `Bearer ${service.adminToken}` },
    });
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("content-disposition")).toBe(`attachment; filename="${id}.log"`);
    expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
    expect(await storedBytes()).toBeLessThan(content.length / 10);
  });

  it("are taken over HTTP, whatever the media type", async () => {
    const device = await enrolDevice(service);
    for (const headers of [{}, { "content-type": "application/json" }, { "content-type": "text/x-log" }]) {
      const response = await post(device.token, "<script>alert(1)</script>", headers);
      expect(response.status).toBe(201);
      const { crashLog } = (await response.json()) as { crashLog: { id: string; sizeBytes: string } };
      expect(crashLog.sizeBytes).toBe("25");
    }
    expect((await post(service.adminToken, "log", {})).status).toBe(403);
  });

  it("are refused beyond 1 MiB", async () => {
    const device = await enrolDevice(service);
    const large = Buffer.alloc(1024 * 1024 + 1, "x");
    expect(await refusal(uploadLog(device, large))).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "MESSAGE_TOO_LARGE",
    });
    expect((await post(device.token, large, {})).status).toBe(413);
    await expect(uploadLog(device, large.subarray(1))).resolves.toMatchObject({
      crashLog: { sizeBytes: 1024n * 1024n },
    });
  });

  it("are refused to a device that sends very many", async () => {
    const device = await enrolDevice(service);
    for (let count = 0; count < 20; count++) await uploadLog(device, Buffer.from(`log ${count}`));
    expect(await refusal(uploadLog(device, Buffer.from("one more")))).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "RATE_LIMITED",
    });
    await uploadLog(await enrolDevice(service), Buffer.from("another device"));
  });

  it("belong to the error that names them, if the same device sent them", async () => {
    const [owner, other] = [await enrolDevice(service), await enrolDevice(service)];
    const id = (await uploadLog(owner, content)).crashLog?.id ?? "";
    await send(other, "E_LOG", id);
    await send(owner, "E_LOG", id);
    const group = await groupOf("E_LOG", 2);
    const { occurrences } = await service.client().unary(method.listErrorOccurrences, { groupId: group.id });
    const logs = new Map(occurrences.map(({ deviceId, report }) => [deviceId, report?.crashLogId]));
    expect(logs).toEqual(
      new Map([
        [owner.id, id],
        [other.id, ""],
      ]),
    );
  });

  it("cannot be read by devices", async () => {
    const device = await enrolDevice(service);
    const id = (await uploadLog(device, content)).crashLog?.id ?? "";
    const answer = await http(service, "GET", `/api/v1/crashLogs/${id}`, { token: device.token });
    expect(httpRefusal(answer)).toMatchObject({ code: "PERMISSION_DENIED" });
    const missing = await http(service, "GET", `/api/v1/crashLogs/${randomUUID()}`, {
      token: service.adminToken,
    });
    expect(missing.status).toBe(404);
  });
});

function post(token: string, body: string | Buffer, headers: Record<string, string>): Promise<Response> {
  return fetch(new URL("/api/v1/crashLogs", service.httpUrl), {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, ...headers },
    body: typeof body === "string" ? body : bytes(body),
  });
}

async function storedBytes(): Promise<number> {
  const client = new pg.Client({ connectionString: service.databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>(
      "SELECT count(*) AS count FROM crash_logs WHERE stored_at IS NOT NULL",
    );
    expect(Number(rows[0]?.count)).toBeGreaterThan(0);
  } finally {
    await client.end();
  }
  let sum = 0;
  for (const entry of await readdir(service.dataDir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && /^[0-9a-f]{64}$/.test(entry.name))
      sum += (await stat(join(entry.parentPath, entry.name))).size;
  }
  expect(sum).toBeGreaterThan(0);
  return sum;
}
