import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type DeviceReplica, enrolmentKey, enrolmentOf, startDevices } from "./device-fixture.ts";

const operator = "operator:root";

async function identity({ access }: DeviceReplica, token: string) {
  return await access.authenticator.identify(token);
}

function reasonOf(outcome: PromiseRejectedResult): unknown {
  return (outcome.reason as { reason?: unknown }).reason;
}

describe("enrolment", () => {
  it("gives a device its own credential and puts that on record", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices, { deviceTypes: ["thermostat"] });
    const request = enrolmentOf(key, "SN-1", { metadata: { colour: "white" } });
    const { deviceId, token } = await devices.enrolment.enrol(request);

    expect(token).toMatch(/^ota_dev_[\w-]{43}$/);
    expect(await identity(devices, token)).toMatchObject({ kind: "device", deviceId });
    expect(await devices.registry.get(deviceId)).toMatchObject({
      serialNumber: "SN-1",
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      metadata: { colour: "white" },
      lastHeartbeat: undefined,
      retiredAt: undefined,
    });
    const [event] = await devices.access.audit.list({ resourceId: deviceId }, { limit: 10 });
    expect(event).toMatchObject({ actor: `device:${deviceId}`, action: "device.enrol" });
  });

  it("answers a retry with the same device and a fresh credential", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices, { maxUses: 1 });
    const request = enrolmentOf(key, "SN-1");
    const first = await devices.enrolment.enrol(request);
    await identity(devices, first.token);
    const second = await devices.enrolment.enrol(request);

    expect(second.deviceId).toBe(first.deviceId);
    expect(await identity(devices, second.token)).toMatchObject({ deviceId: first.deviceId });
    await expect(identity(devices, first.token)).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });
    const [used] = await devices.access.enrolmentKeys.list({ limit: 1 });
    expect(used?.useCount).toBe(1);
    await expect(devices.enrolment.enrol({ ...request, hardwareModel: "tx-300" })).rejects.toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
  });

  it("refuses a serial number that is enrolled, until an operator resets it", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices, { maxUses: 1 });
    const first = await devices.enrolment.enrol(enrolmentOf(key, "SN-1", { metadata: { a: "1", b: "1" } }));
    const again = enrolmentOf(key, "SN-1", { hardwareModel: "tx-300", metadata: { b: "2" } });
    await expect(devices.enrolment.enrol(again)).rejects.toMatchObject({
      code: "already_exists",
      reason: "DUPLICATE",
      metadata: { serial_number: "SN-1" },
    });

    const { revokedCredentials } = await devices.registry.resetCredential({
      actor: operator,
      id: first.deviceId,
      reason: "factory reset",
    });
    expect(revokedCredentials).toBe(1);
    await expect(identity(devices, first.token)).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });

    const second = await devices.enrolment.enrol(again);
    expect(second.deviceId).toBe(first.deviceId);
    expect(await devices.registry.get(second.deviceId)).toMatchObject({
      hardwareModel: "tx-300",
      metadata: { a: "1", b: "2" },
    });
    expect(await devices.directory.get(second.deviceId)).toMatchObject({ hardwareModel: "tx-300" });
  });

  it("lets exactly as many devices in as the key may enrol, however many come at once", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices, { maxUses: 10 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, (_, n) => devices.enrolment.enrol(enrolmentOf(key, `SN-${n}`))),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    const refusals = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [reasonOf(outcome)] : [],
    );
    expect(refusals).toEqual(Array.from({ length: 90 }, () => "ENROLMENT_KEY_EXHAUSTED"));
    const { rows } = await devices.access.database.adminPool.query(
      "SELECT (SELECT count(*)::int FROM devices) AS devices, (SELECT use_count::int FROM enrolment_keys) AS uses",
    );
    expect(rows).toEqual([{ devices: 10, uses: 10 }]);
  });

  it("makes one device of one serial number that enrols many times at once", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, () => devices.enrolment.enrol(enrolmentOf(key, "SN-1"))),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const refusals = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [reasonOf(outcome)] : [],
    );
    expect(refusals).toEqual(Array.from({ length: 11 }, () => "DUPLICATE"));
  });

  it("refuses a wrong key before it says anything of the serial number", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices, { deviceTypes: ["thermostat"] });
    await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const refused = { code: "permission_denied", reason: "ENROLMENT_KEY_INVALID" };
    await expect(devices.enrolment.enrol(enrolmentOf("not-a-key-at-all-1", "SN-1"))).rejects.toMatchObject(
      refused,
    );
    const toaster = enrolmentOf(key, "SN-2", { deviceType: "toaster" });
    await expect(devices.enrolment.enrol(toaster)).rejects.toMatchObject(refused);
  });

  it("takes any version that can be kept", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    for (const firmwareVersion of ["1.2", "v1.2.3", "2024.08.1", "34105904", "8.8.1-11-g8c926e5+188370"]) {
      await devices.enrolment.enrol(enrolmentOf(key, `SN-${firmwareVersion}`, { firmwareVersion }));
    }
    for (const firmwareVersion of ["1.0.0\0", "1.0.0\ud800"]) {
      await expect(
        devices.enrolment.enrol(enrolmentOf(key, "SN-1", { firmwareVersion })),
      ).rejects.toMatchObject({ reason: "INVALID_VERSION", fields: [{ field: "firmware_version" }] });
    }
  });

  it("gives the serial number of a retired device to a new one once an operator reinstates it", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices, { maxUses: 2 });
    const first = await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const verb = { actor: operator, id: first.deviceId, reason: "repaired" };
    await expect(devices.reinstatement.reinstate(verb)).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    await devices.registry.retire({ ...verb, reason: "broken" });
    const again = () => devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    await expect(again()).rejects.toMatchObject({ code: "permission_denied", reason: "DEVICE_RETIRED" });

    await devices.reinstatement.reinstate(verb);
    const [event] = await devices.access.audit.list({ action: "device.reinstate" }, { limit: 1 });
    expect(event).toMatchObject({ actor: operator, reason: "repaired", resourceId: first.deviceId });
    const second = await again();
    expect(second.deviceId).not.toBe(first.deviceId);
    expect(await devices.registry.get(first.deviceId)).toMatchObject({
      serialNumber: "SN-1",
      enrolUntil: undefined,
    });
    await expect(devices.reinstatement.reinstate(verb)).rejects.toMatchObject({ reason: "NOTHING_TO_DO" });
    // Once: the one that came is not let in again when it is retired in its turn.
    await devices.registry.retire({ ...verb, id: second.deviceId });
    await expect(again()).rejects.toMatchObject({ reason: "DEVICE_RETIRED" });
    await devices.enrolment.register({
      actor: operator,
      requestId: randomUUID(),
      serialNumber: "SN-1",
      deviceType: "thermostat",
      hardwareModel: "tx-200",
      product: "",
      displayName: "",
      groups: [],
      metadata: {},
    });
  });

  it("does not let a serial number come back when the time is over that an operator gave it", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const again = (serialNumber: string) => devices.enrolment.enrol(enrolmentOf(key, serialNumber));
    const [reset, retired] = [await again("SN-1"), await again("SN-2")];
    const verb = { actor: operator, reason: "" };
    await devices.registry.resetCredential({ ...verb, id: reset.deviceId });
    await devices.registry.retire({ ...verb, id: retired.deviceId });
    await devices.reinstatement.reinstate({ ...verb, id: retired.deviceId });
    devices.access.clock.advance(24 * 3_600_000);
    await expect(again("SN-1")).rejects.toMatchObject({ reason: "DUPLICATE" });
    await expect(again("SN-2")).rejects.toMatchObject({ reason: "DEVICE_RETIRED" });
  });

  it("lets a device that was reset back once, and no more after it was retired", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const again = () => devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const { deviceId: id } = await again();
    await devices.registry.resetCredential({ actor: operator, id, reason: "" });
    await again();
    await expect(again()).rejects.toMatchObject({ reason: "DUPLICATE" });
    await devices.registry.resetCredential({ actor: operator, id, reason: "" });
    await devices.registry.retire({ actor: operator, id, reason: "" });
    await expect(again()).rejects.toMatchObject({ reason: "DEVICE_RETIRED" });
  });

  it("takes no repeat for a retry that comes late, from elsewhere or by another key", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const request = enrolmentOf(key, "SN-1");
    const { token } = await devices.enrolment.enrol(request);
    const duplicate = { code: "already_exists", reason: "DUPLICATE" };
    const elsewhere = { ...request, source: "203.0.113.8" };
    await expect(devices.enrolment.enrol(elsewhere)).rejects.toMatchObject(duplicate);
    const otherKey = { ...request, enrolmentKey: await enrolmentKey(devices) };
    await expect(devices.enrolment.enrol(otherKey)).rejects.toMatchObject(duplicate);
    const otherVersion = { ...request, firmwareVersion: "1.0.1" };
    await expect(devices.enrolment.enrol(otherVersion)).rejects.toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
    devices.access.clock.advance(15 * 60_000 + 1);
    await expect(devices.enrolment.enrol(request)).rejects.toMatchObject(duplicate);
    expect(await identity(devices, token)).toMatchObject({ kind: "device" });
  });
});

describe("registration by an operator", () => {
  const registration = {
    actor: operator,
    serialNumber: "SN-1",
    deviceType: "thermostat",
    hardwareModel: "tx-200",
    product: "",
    displayName: "Lobby",
    groups: ["berlin", "beta"],
    metadata: { floor: "0", room: "lobby" },
  };

  it("answers a repeat with the same device and a fresh credential", async () => {
    await using devices = await startDevices();
    const requestId = randomUUID();
    const first = await devices.enrolment.register({ ...registration, requestId });
    const second = await devices.enrolment.register({
      ...registration,
      metadata: { room: "lobby", floor: "0" },
      requestId,
    });
    expect(second.deviceId).toBe(first.deviceId);
    expect(await identity(devices, second.token)).toMatchObject({ deviceId: first.deviceId });
    await expect(identity(devices, first.token)).rejects.toMatchObject({ reason: "CREDENTIAL_REVOKED" });
    expect(await devices.registry.get(first.deviceId)).toMatchObject({
      displayName: "Lobby",
      groups: ["berlin", "beta"],
      metadata: registration.metadata,
    });
    await expect(
      devices.enrolment.register({ ...registration, displayName: "Hall", requestId }),
    ).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
  });

  it("refuses a serial number that is in service", async () => {
    await using devices = await startDevices();
    await devices.enrolment.register({ ...registration, requestId: randomUUID() });
    await expect(
      devices.enrolment.register({ ...registration, requestId: randomUUID() }),
    ).rejects.toMatchObject({ code: "already_exists", reason: "DUPLICATE" });
  });
});
