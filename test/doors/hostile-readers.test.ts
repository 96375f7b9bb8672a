import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DeviceService } from "../../gen/ota/v1/device_service_pb.js";
import { HeartbeatService } from "../../gen/ota/v1/heartbeat_service_pb.js";
import { RolloutService } from "../../gen/ota/v1/rollout_service_pb.js";
import { TelemetryService } from "../../gen/ota/v1/telemetry_service_pb.js";
import { UpdateService } from "../../gen/ota/v1/update_service_pb.js";
import {
  type EnrolledDevice,
  enrolDevice,
  http,
  newContent,
  publish,
  refusal,
} from "../support/door-clients.ts";
import { eventually } from "../support/eventually.ts";
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

  test("leave the first page of devices, and one device's newest heartbeats, to those who ask for little", async () => {
    const operator = service.client();
    const [device] = devices;
    const deviceId = device?.id ?? "";
    const { id: firmwareId } = await publish(service, newContent(100));
    const { rollout } = await operator.unary(RolloutService.method.createRollout, { firmwareId });
    const rolloutId = rollout?.id ?? "";
    const ask = {
      walk: () => operator.unary(DeviceService.method.listDevices, {}),
      newest: () => operator.unary(HeartbeatService.method.listHeartbeats, { deviceId, pageSize: 1 }),
      filtered: () => operator.unary(DeviceService.method.listDevices, { filter: "battery_percent < 20" }),
      sorted: () => operator.unary(DeviceService.method.listDevices, { orderBy: "battery_percent" }),
      foreseen: () =>
        operator.unary(DeviceService.method.batchUpdateDevices, {
          filter: "battery_percent < 20",
          addTags: ["low"],
          validateOnly: true,
        }),
      updates: () =>
        operator.unary(RolloutService.method.listDeviceUpdates, { rolloutId, filter: "attempt > 1" }),
      whole: () => operator.unary(HeartbeatService.method.listHeartbeats, { deviceId, pageSize: 1_000 }),
    };
    await ask.newest();
    const holder = new pg.Client(service.databaseUrl);
    const watcher = new pg.Client(service.databaseUrl);
    await holder.connect();
    await watcher.connect();
    try {
      // Nobody gets at the models' other names: two long reads wait for them, and all others behind these.
      await holder.query("BEGIN; LOCK TABLE model_aliases IN ACCESS EXCLUSIVE MODE");
      const count = () => operator.unary(DeviceService.method.countDevices, { filter: "hardware_model = x" });
      const long = Promise.all([count(), count()]);
      await eventually(async () => {
        const { rows } = await watcher.query<{ count: number }>(
          `SELECT count(*)::int AS count FROM pg_stat_activity
            WHERE application_name LIKE '%heavy reads' AND wait_event_type = 'Lock'`,
        );
        expect(rows).toEqual([{ count: 2 }]);
      });
      const costly = [ask.filtered(), ask.sorted(), ask.foreseen(), ask.updates(), ask.whole()];
      const waiting = costly.map((answer) => answer.then(() => "answered"));
      for (let n = 0; n < 5; n++) await Promise.all([ask.walk(), ask.newest()]);
      expect(await Promise.race([...waiting, ask.walk().then(() => "waiting")])).toBe("waiting");
      await holder.query("ROLLBACK");
      await long;
      expect(await Promise.all(waiting)).toEqual(costly.map(() => "answered"));
    } finally {
      await holder.end();
      await watcher.end();
    }
  });

  test("that are devices may ask little", async () => {
    const device = await enrolDevice(service, { deviceType: "pump" });
    const asked = Array.from({ length: 90 }, () => refusal(series(device)).catch(() => undefined));
    const reasons = new Set((await Promise.all(asked)).map((answer) => answer?.reason));
    expect(reasons).toContain("RATE_LIMITED");
  });
});
