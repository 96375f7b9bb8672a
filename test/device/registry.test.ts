import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { DeviceQuery } from "../../src/device/registry/device-list.ts";
import { eventually } from "../support/eventually.ts";
import { enrolmentKey, enrolmentOf, heartbeatOf, joinDevices, startDevices } from "./device-fixture.ts";

const actor = "operator:root";

const anyDevice: DeviceQuery = {
  deviceTypes: [],
  hardwareModels: [],
  groups: [],
  firmwareVersions: [],
  serialNumberPrefix: "",
  showRetired: false,
  filter: { kind: "all" },
  order: { by: "create_time", descending: true },
};

const never = new AbortController().signal;

describe("DeviceRegistry", () => {
  it("shows all that the newest heartbeat said, before and after it is written", async () => {
    await using devices = await startDevices();
    const { deviceId } = await devices.enrolment.enrol(enrolmentOf(await enrolmentKey(devices), "SN-1"));
    const heartbeat = heartbeatOf(deviceId, 7, {
      deviceTime: new Date("2025-12-31T23:59:59.500Z"),
      firmwareVersion: "1.1.0",
      bootId: "boot-2",
      uptimeMs: 12_345,
      batteryPercent: 55.5,
      charging: false,
      cpuPercent: 0,
      memoryPercent: 25,
      storageFreeBytes: 5_000_000_000,
      temperatureCelsius: -12.5,
      latitude: 52.520008,
      longitude: 13.404954,
      accuracyMeters: 4.5,
      altitudeMeters: 34,
      networkType: "WIFI",
      signalDbm: -67,
      carrier: "",
      securityCounter: 3,
      imageSha256: Buffer.alloc(32, 7),
    });
    devices.directory.observe([heartbeat]);
    const before = await devices.registry.get(deviceId);
    expect(before.lastHeartbeat).toEqual(heartbeat);
    await devices.states.flush();
    expect(devices.states.size).toBe(0);
    expect(await devices.registry.get(deviceId)).toEqual(before);
    expect(before.securityCounter).toBe(3);
  });

  it("lists by every filter, newest first, page by page", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const ids: string[] = [];
    for (const [serial, deviceType, hardwareModel, version] of [
      ["A-1", "thermostat", "tx-200", "1.0.0"],
      ["A_2", "thermostat", "tx-300", "1.1.0"],
      ["B-3", "camera", "cx-1", "1.1.0"],
      ["B-4", "camera", "cx-1", undefined],
    ] as const) {
      const { deviceId } = await devices.enrolment.enrol(
        enrolmentOf(key, serial, { deviceType, hardwareModel }),
      );
      ids.push(deviceId);
      if (version !== undefined)
        devices.directory.observe([heartbeatOf(deviceId, 1, { firmwareVersion: version })]);
    }
    await devices.states.flush();
    const update = { actor, displayName: undefined, metadata: undefined };
    await devices.registry.update({ ...update, id: ids[0] ?? "", groups: ["berlin", "beta"] });
    await devices.registry.update({ ...update, id: ids[2] ?? "", groups: ["beta"] });
    await devices.registry.retire({ actor, id: ids[3] ?? "", reason: "" });

    const serials = async (filter: Partial<DeviceQuery>, page: { limit?: number; after?: string } = {}) =>
      (
        await devices.registry.list({ ...anyDevice, ...filter }, { limit: 10, ...page }, { signal: never })
      ).map(({ device }) => device.serialNumber);
    expect(await serials({})).toEqual(["B-3", "A_2", "A-1"]);
    expect(await serials({ showRetired: true })).toEqual(["B-4", "B-3", "A_2", "A-1"]);
    expect(await serials({ deviceTypes: ["camera", "x"] })).toEqual(["B-3"]);
    expect(await serials({ hardwareModels: ["tx-200", "cx-1"] })).toEqual(["B-3", "A-1"]);
    expect(await serials({ groups: ["beta"] })).toEqual(["B-3", "A-1"]);
    expect(await serials({ groups: ["berlin", "nowhere"] })).toEqual(["A-1"]);
    expect(await serials({ firmwareVersions: ["1.1.0"] })).toEqual(["B-3", "A_2"]);
    expect(await serials({ serialNumberPrefix: "A_" })).toEqual(["A_2"]);
    expect(await serials({ deviceTypes: ["thermostat"], groups: ["beta"] })).toEqual(["A-1"]);
    expect(await serials({}, { limit: 2 })).toEqual(["B-3", "A_2"]);
    expect(await serials({}, { limit: 2, after: ids[1] ?? "" })).toEqual(["A-1"]);
    expect(await serials({ deviceTypes: ["'; DROP TABLE devices; --"] })).toEqual([]);
  });

  it("changes only what is given, and puts it on record", async () => {
    await using devices = await startDevices();
    const { deviceId: id } = await devices.enrolment.enrol(
      enrolmentOf(await enrolmentKey(devices), "SN-1", { metadata: { colour: "white" } }),
    );
    expect(await devices.directory.get(id)).toMatchObject({ groups: [] });
    const device = await devices.registry.update({
      actor,
      id,
      displayName: undefined,
      groups: ["beta"],
      metadata: undefined,
    });
    expect(device).toMatchObject({ displayName: "", groups: ["beta"], metadata: { colour: "white" } });
    expect(await devices.directory.get(id)).toMatchObject({ groups: ["beta"] });
    const [event] = await devices.access.audit.list({ action: "device.update" }, { limit: 1 });
    expect(event).toMatchObject({ actor, details: { from_groups: "", to_groups: "beta" } });
    expect(device.unchanged).toBe(false);
    const same = { actor, id, groups: ["beta"], metadata: { colour: "white" } };
    expect((await devices.registry.update(same)).unchanged).toBe(true);
    expect(await devices.access.audit.list({ action: "device.update" }, { limit: 2 })).toHaveLength(1);
    const missing = { actor, id: randomUUID(), displayName: "x", groups: undefined, metadata: undefined };
    await expect(devices.registry.update(missing)).rejects.toMatchObject({ code: "not_found" });
  });

  it("retires a device once: no credential works, the observers act in the same transaction", async () => {
    const told: string[] = [];
    await using devices = await startDevices(() => [
      {
        async deviceRetired(em, { id, reason }) {
          const [row] = await em.execute<{ is_deleted: boolean }[]>(
            "SELECT is_deleted FROM devices WHERE id = ?",
            [id],
          );
          told.push(`${reason}: ${row?.is_deleted}`);
        },
      },
    ]);
    const { deviceId: id, token } = await devices.enrolment.enrol(
      enrolmentOf(await enrolmentKey(devices), "SN-1"),
    );
    await devices.access.authenticator.identify(token);
    await devices.directory.get(id);

    const retired = await devices.registry.retire({ actor, id, reason: "stolen" });
    expect(retired.retiredAt).toEqual(devices.access.clock.now());
    await devices.registry.retire({ actor, id, reason: "stolen" });
    expect(told).toEqual(["stolen: true"]);
    await expect((async () => devices.access.authenticator.identify(token))()).rejects.toMatchObject({
      reason: "CREDENTIAL_REVOKED",
    });
    expect(await devices.directory.get(id)).toMatchObject({ retired: true });
    expect(devices.heardChanges.filter((change) => change.kind === "retired")).toHaveLength(1);

    const verb = { actor, id, reason: "" };
    await expect(devices.registry.resetCredential(verb)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "ILLEGAL_TRANSITION",
      metadata: { state: "retired" },
    });
    await expect(devices.registry.retire({ ...verb, id: randomUUID() })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  it("does not retire a device whose open update cannot be cancelled", async () => {
    await using devices = await startDevices(() => [
      { deviceRetired: () => Promise.reject(new Error("cannot cancel")) },
    ]);
    const { deviceId: id, token } = await devices.enrolment.enrol(
      enrolmentOf(await enrolmentKey(devices), "SN-1"),
    );
    await expect(devices.registry.retire({ actor, id, reason: "" })).rejects.toThrow("cannot cancel");
    expect((await devices.registry.get(id)).retiredAt).toBeUndefined();
    expect(await devices.access.authenticator.identify(token)).toMatchObject({ deviceId: id });
    expect(await devices.access.audit.list({ action: "device.retire" }, { limit: 1 })).toEqual([]);
  });

  it("tells other replicas, and itself only once", async () => {
    await using here = await startDevices();
    await using there = await joinDevices(here.access.url);
    const { deviceId: id } = await here.enrolment.enrol(enrolmentOf(await enrolmentKey(here), "SN-1"));
    expect(await there.directory.get(id)).toMatchObject({ retired: false });
    await here.registry.retire({ actor, id, reason: "" });
    await eventually(() => expect(there.heardChanges).toEqual([{ deviceId: id, kind: "retired" }]));
    expect(await there.directory.get(id)).toMatchObject({ retired: true });
    expect(here.heardChanges.filter((change) => change.kind === "retired")).toHaveLength(1);
  });
});
