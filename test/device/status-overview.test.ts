import { describe, expect, it } from "vitest";
import { StatusOverview } from "../../src/device/status-overview.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  startDevices,
} from "./device-fixture.ts";

const heartbeatIntervalMs = 60_000;

function overviewOf(devices: DeviceReplica) {
  const { database, clock } = devices.access;
  const counts = { updates: 0 };
  const overview = new StatusOverview({
    database,
    clock,
    heartbeatIntervalMs,
    streams: { size: 3 },
    updates: {
      openUpdateIds: async () => new Map(),
      openUpdateCount: async () => {
        counts.updates++;
        return 2;
      },
    },
  });
  return { overview, counts };
}

describe("StatusOverview", () => {
  it("counts the fleet by presence, version and type, without retired devices", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const nowMs = devices.access.clock.now().getTime();
    for (const [n, deviceType, silentMs, firmwareVersion] of [
      [1, "thermostat", 0, "1.0.0"],
      [2, "thermostat", 90_000, "1.0.0"],
      [3, "thermostat", 90_001, "1.1.0"],
      [4, "camera", 240_000, "1.0.0"],
      [5, "camera", 240_001, "1.1.0"],
      [6, "camera", undefined, ""],
      [7, "retired", 0, "9.9.9"],
    ] as const) {
      const { deviceId } = await devices.enrolment.enrol(enrolmentOf(key, `SN-${n}`, { deviceType }));
      if (silentMs !== undefined) {
        const receivedAt = new Date(nowMs - silentMs);
        devices.directory.observe([heartbeatOf(deviceId, 1, { receivedAt, firmwareVersion })]);
      }
      if (deviceType === "retired") {
        await devices.registry.retire({ actor: "operator:root", id: deviceId, reason: "" });
      }
    }
    await devices.states.flush();
    expect(await overviewOf(devices).overview.get()).toEqual({
      total: 6,
      online: 2,
      late: 2,
      offline: 1,
      unknown: 1,
      firmwareVersions: [
        { name: "1.0.0", count: 3 },
        { name: "1.1.0", count: 2 },
      ],
      deviceTypes: [
        { name: "camera", count: 3 },
        { name: "thermostat", count: 3 },
      ],
      updating: 2,
      streaming: 3,
      countedAt: devices.access.clock.now(),
    });
  });

  it("counts an empty fleet", async () => {
    await using devices = await startDevices();
    expect(await overviewOf(devices).overview.get()).toMatchObject({ total: 0, online: 0, unknown: 0 });
  });

  it("counts once for callers at the same time, and again some seconds later", async () => {
    await using devices = await startDevices();
    const { overview, counts } = overviewOf(devices);
    await Promise.all([overview.get(), overview.get(), overview.get()]);
    expect(counts.updates).toBe(1);
    devices.access.clock.advance(2_999);
    await overview.get();
    expect(counts.updates).toBe(1);
    devices.access.clock.advance(1);
    await overview.get();
    expect(counts.updates).toBe(2);
  });
});
