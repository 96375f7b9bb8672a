import { once } from "node:events";
import { connect } from "node:net";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { ExportFormat, SeriesSource, TelemetryService } from "../../gen/ota/v1/telemetry_service_pb.js";
import {
  connectClient,
  type EnrolledDevice,
  enrolDevice,
  http,
  httpRefusal,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
import { execute } from "../support/global-setup.ts";
import { liveBytes } from "../support/live-bytes.ts";
import { startTestService, type TestService } from "../support/service.ts";

describe("telemetry", () => {
  let service: TestService;
  let device: EnrolledDevice;

  beforeAll(async () => {
    service = await startTestService();
    device = await enrolDevice(service, { deviceType: "pump" });
    const client = service.client(device.token);
    await client.unary(HeartbeatService.method.sendHeartbeat, {
      heartbeats: [1, 2, 3].map((n) => ({
        sequence: BigInt(n),
        firmwareVersion: "1.0.0",
        batteryPercent: n * 10,
        metrics: { flow: n },
        location: { latitude: 52 + n, longitude: 13, accuracyMeters: 4 },
      })),
    });
  });
  afterAll(() => service[Symbol.asyncDispose]());

  const from = () => new Date(Date.now() - 3_600_000);

  test("series come by gRPC and REST", async () => {
    const answer = await service.client().unary(TelemetryService.method.querySeries, {
      deviceId: device.id,
      metrics: ["battery_percent", "metrics.flow"],
      startTime: timestampFromDate(from()),
    });
    expect(answer.source).toBe(SeriesSource.HEARTBEATS);
    expect(
      answer.series.map(({ metric, unit, points: [point] }) => [metric, unit, point?.avg, point?.count]),
    ).toEqual([
      ["battery_percent", "%", 20, 3n],
      ["metrics.flow", "", 2, 3n],
    ]);
    const rest = await http(
      service,
      "GET",
      `/api/v1/telemetry/series?filter=${encodeURIComponent('device_type = "pump"')}&metrics=metrics.flow&startTime=${from().toISOString()}`,
      { token: service.adminToken },
    );
    expect(rest.body).toMatchObject({
      bucketDuration: "30s",
      source: "SERIES_SOURCE_HEARTBEATS",
      series: [{ metric: "metrics.flow", points: [{ min: 1, avg: 2, max: 3, last: 3, count: "3" }] }],
    });
  });

  test("a device sees its own series and track only", async () => {
    const client = service.client(device.token);
    const other = await enrolDevice(service);
    const startTime = timestampFromDate(from());
    const metrics = ["battery_percent"];
    await client.unary(TelemetryService.method.querySeries, { deviceId: device.id, metrics, startTime });
    expect(
      await refusal(
        client.unary(TelemetryService.method.querySeries, { deviceId: other.id, metrics, startTime }),
      ),
    ).toMatchObject({ reason: "NOT_YOUR_DEVICE" });
    expect(
      await refusal(
        client.unary(TelemetryService.method.querySeries, {
          filter: "device_type = pump",
          metrics,
          startTime,
        }),
      ),
    ).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["device_id"] });
    const { points } = await client.unary(TelemetryService.method.getTrack, { deviceId: device.id });
    expect(points.map(({ location }) => location?.latitude)).toEqual([53, 54, 55]);
  });

  test("a metric that there is not is named", async () => {
    const call = service.client().unary(TelemetryService.method.querySeries, {
      deviceId: device.id,
      metrics: ["battery"],
      startTime: timestampFromDate(from()),
    });
    expect(await refusal(call)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["metrics[0]"] });
  });

  test("metrics and positions appear by themselves", async () => {
    await expect
      .poll(
        async () =>
          (await service.client().unary(TelemetryService.method.listMetrics, { deviceType: "pump" })).metrics,
      )
      .toContainEqual(expect.objectContaining({ name: "metrics.flow", deviceTypes: ["pump"] }));
    await expect
      .poll(async () => {
        const box = { south: 50, west: 10, north: 60, east: 20 };
        return (await service.client().unary(TelemetryService.method.searchPositions, box)).devices;
      })
      .toMatchObject([{ deviceId: device.id, location: { latitude: 55, longitude: 13 } }]);
  });

  test("history has only the fields of a mask, and refuses a wrong one", async () => {
    const { body } = await http(
      service,
      "GET",
      `/api/v1/heartbeat/${device.id}?readMask=batteryPercent,location`,
      {
        token: service.adminToken,
      },
    );
    expect(body.heartbeats).toHaveLength(3);
    expect(body.heartbeats[0]).toMatchObject({
      heartbeat: {
        sequence: "3",
        batteryPercent: 30,
        location: { latitude: 55, longitude: 13, accuracyMeters: 4 },
      },
      receiveTime: expect.any(String),
      epoch: 1,
    });
    expect(body.heartbeats[0].heartbeat).not.toHaveProperty("uptime");
    expect(body.heartbeats[0].heartbeat).toMatchObject({ firmwareVersion: "", metrics: {} });
    const wrong = await http(service, "GET", `/api/v1/heartbeat/${device.id}?readMask=battery`, {
      token: service.adminToken,
    });
    expect(httpRefusal(wrong)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["readMask"] });
  });

  test("exports come as a file over HTTP and as a stream over Connect", async () => {
    const path = `/api/v1/heartbeat/${device.id}/export`;
    const csv = await http(service, "GET", `${path}?format=csv&readMask=batteryPercent`, {
      token: service.adminToken,
    });
    expect(csv.headers.get("content-type")).toContain("text/csv");
    expect(csv.headers.get("content-disposition")).toBe(`attachment; filename="heartbeats-${device.id}.csv"`);
    const lines = String(csv.body).trim().split("\r\n");
    expect(lines[0]).toBe("receive_time,epoch,sequence,battery_percent");
    expect(lines.slice(1).map((line) => line.split(",").slice(1))).toEqual([
      ["1", "1", "10"],
      ["1", "2", "20"],
      ["1", "3", "30"],
    ]);
    const parts = [];
    const request = { deviceId: device.id, format: ExportFormat.NDJSON };
    for await (const { data } of connectClient(
      service,
      TelemetryService,
      service.adminToken,
    ).exportHeartbeats(request))
      parts.push(data);
    expect(Buffer.concat(parts).toString().trim().split("\n")).toHaveLength(3);

    expect((await http(service, "GET", path)).status).toBe(401);
    expect((await http(service, "GET", path, { token: device.token })).status).toBe(403);
    const wrong = await http(service, "GET", `${path}?format=xml`, { token: service.adminToken });
    expect(httpRefusal(wrong)).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["format"] });
  });

  test("an export whose reader stalls waits for it, and keeps none of it in memory", async () => {
    const rows = 60_000;
    const { id } = await enrolDevice(service, { deviceType: "pump" });
    await execute(
      service.databaseUrl,
      `INSERT INTO device_heartbeats (device_id, received_at, sequence, epoch, firmware_version, boot_id, uptime_ms, security_counter, carrier)
       SELECT '${id}', date_trunc('day', now(), 'UTC') + n / 10 * interval '1 millisecond', n, 1, '1.0.0', repeat('b', 64), n, 1, repeat('c', 64) FROM generate_series(1, ${rows}) n`,
    );
    const path = `/api/v1/heartbeat/${id}/export?format=csv`;
    const url = new URL(path, service.httpUrl);
    const authorization = `Bearer ${service.adminToken}`;
    const all = async () => await linesOf((await fetch(url, { headers: { authorization } })).body ?? []);
    // The first one brings code and caches into memory.
    expect(await all()).toBe(rows + 1);
    const stalled = connect(Number(url.port), url.hostname);
    stalled.write(`GET ${path} HTTP/1.0\r\nhost: ${url.host}\r\nauthorization: ${authorization}\r\n\r\n`);
    await once(stalled, "readable");
    const before = liveBytes();
    // Another reader takes all of it meanwhile: time enough to buffer the first one's too, which is 11 MB.
    expect(await all()).toBe(rows + 1);
    // What the finished one leaves behind goes in its own time.
    await eventually(() => expect(liveBytes() - before).toBeLessThan(5_000_000));
    // With the lines of the head.
    expect(await linesOf(stalled)).toBeGreaterThan(rows + 1);
  });
});

async function linesOf(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<number> {
  let lines = 0;
  for await (const chunk of chunks) for (const byte of chunk) if (byte === 10) lines++;
  return lines;
}
