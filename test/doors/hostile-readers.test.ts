import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { TelemetryService } from "../../gen/ota/v1/telemetry_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import { type EnrolledDevice, enrolDevice, http, refusal } from "../support/door-clients.ts";
import { startTestService, type TestService } from "../support/service.ts";

const readers = 8;

describe("hostile readers", () => {
  let service: TestService;
  const devices: EnrolledDevice[] = [];

  beforeAll(async () => {
    service = await startTestService();
    for (let n = 0; n < readers; n++) devices.push(await enrolDevice(service, { deviceType: "pump" }));
  });
  afterAll(() => service[Symbol.asyncDispose]());

  const series = ({ id, token }: EnrolledDevice) =>
    service.client(token).unary(TelemetryService.method.querySeries, {
      deviceId: id,
      metrics: ["battery_percent"],
      startTime: timestampFromDate(new Date("0001-01-01T00:00:00Z")),
      maxPoints: 2_000,
    });

  test("stop neither heartbeats nor update checks nor readiness, while none of their questions is answered", async () => {
    // Nobody gets at the roll-ups: each series takes as long as it may.
    const holder = new pg.Client(service.databaseUrl);
    await holder.connect();
    const asked: Promise<unknown>[] = [];
    try {
      await holder.query("BEGIN; LOCK TABLE heartbeat_rollups_1h IN ACCESS EXCLUSIVE MODE");
      asked.push(...devices.map(series), ...devices.map(series));
      const answers = Promise.allSettled(asked);
      const [device] = devices;
      if (device === undefined) throw new Error("no device");
      const client = service.client(device.token);
      for (let n = 1; n <= 20; n++) {
        const { ack } = await client.unary(HeartbeatService.method.sendHeartbeat, {
          heartbeats: [{ sequence: BigInt(n), firmwareVersion: "1.0.0" }],
        });
        expect(ack?.ackedThrough).toBe(BigInt(n));
        expect((await http(service, "GET", "/health/ready")).status).toBe(200);
      }
      await client.unary(UpdateService.method.checkForUpdate, { firmwareVersion: "1.0.0" });
      await holder.query("ROLLBACK");
      await answers;
    } finally {
      await holder.end();
    }
    // One question of a device at a time: the second one of each was refused, with words.
    const refused = (await Promise.allSettled(asked)).filter(({ status }) => status === "rejected");
    expect(refused.length).toBeGreaterThanOrEqual(readers);
    expect((await series(devices[1] as EnrolledDevice)).series).toHaveLength(1);
  });

  test("that are devices may ask little", async () => {
    const device = await enrolDevice(service, { deviceType: "pump" });
    const asked = Array.from({ length: 90 }, () => refusal(series(device)).catch(() => undefined));
    const reasons = new Set((await Promise.all(asked)).map((answer) => answer?.reason));
    expect(reasons).toContain("RATE_LIMITED");
  });
});
