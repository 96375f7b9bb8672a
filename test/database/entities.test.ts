import { createHash, randomBytes } from "node:crypto";
import { v7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceCredentialEntity } from "../../src/access/device-credential.entity.ts";
import { EnrolmentKeyEntity } from "../../src/access/enrolment-key.entity.ts";
import { SigningKeyEntity } from "../../src/access/signing-key.entity.ts";
import { DeviceEntity } from "../../src/device/state/device.entity.ts";
import { DeviceStateEntity } from "../../src/device/state/device-state.entity.ts";
import { FirmwareSignatureEntity } from "../../src/firmware/firmware-signature.entity.ts";
import { FirmwareUpdateEntity } from "../../src/firmware/firmware-update.entity.ts";
import type { Database } from "../../src/infra/database/database.ts";
import { uniqueViolation } from "../../src/infra/database/errors.ts";
import { DeploymentRingEntity } from "../../src/rollout/model/deployment-ring.entity.ts";
import { DeviceUpdateEntity } from "../../src/rollout/model/device-update.entity.ts";
import { everyDevice, planPolicy } from "../../src/rollout/model/new-rollout.ts";
import { RolloutEntity } from "../../src/rollout/model/rollout.entity.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { connect } from "./support.ts";

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = await connect(testDatabase.url);
});

afterAll(async () => {
  await database.close();
  await testDatabase[Symbol.asyncDispose]();
});

describe("entities", () => {
  it("store one unit of work in the order of its foreign keys, whatever order it was made in", async () => {
    const ids = await storeRolloutWithDevice();
    const em = database.em();

    const update = await em.findOneOrFail(DeviceUpdateEntity, { id: ids.updateId });
    expect(update).toMatchObject({
      deviceId: ids.deviceId,
      rolloutId: ids.rolloutId,
      ringId: ids.ringId,
      firmwareId: ids.firmwareId,
      fromFirmwareId: null,
      endedAt: null,
      downloadedBytes: 0,
    });
    expect(update.offeredAt).toEqual(offeredAt);
    expect(update.createdAt).toBeInstanceOf(Date);
    update.state = "DOWNLOADING";
    await em.flush();
    expect(
      await database.em().count(DeviceUpdateEntity, { deviceId: ids.deviceId, state: "DOWNLOADING" }),
    ).toBe(1);

    const credential = await em.findOneOrFail(DeviceCredentialEntity, { deviceId: ids.deviceId });
    expect(credential.deviceId).toBe(ids.deviceId);
    expect(Buffer.compare(credential.secretHash, hash(ids.deviceId))).toBe(0);

    const state = await em.findOneOrFail(DeviceStateEntity, { deviceId: ids.deviceId });
    expect(state).toMatchObject({ deviceId: ids.deviceId, lastSequence: 2 ** 53 - 1, batteryPercent: 81.5 });

    const device = await em.findOneOrFail(DeviceEntity, { id: ids.deviceId });
    expect(device).toMatchObject({
      groups: ["lab", "a,b {c}"],
      metadata: { site: "north" },
      enrolmentKeyId: ids.enrolmentKeyId,
      reported: {},
    });
  });

  it("read alike, whether made or loaded", async () => {
    const made = database.em().create(DeviceEntity, {
      id: v7(),
      serialNumber: "made",
      deviceType: "sensor",
      hardwareModel: "s1",
    });
    expect([made.deletedAt, made.enrolRequestId, made.isDeleted]).toEqual([null, null, false]);
  });

  it("move the time of change forward when the ORM updates a row", async () => {
    const { deviceId } = await storeRolloutWithDevice();
    const em = database.em();
    const device = await em.findOneOrFail(DeviceEntity, { id: deviceId });
    const before = device.updatedAt;
    await database.adminPool.query(
      "UPDATE devices SET updated_at = now() - interval '1 hour' WHERE id = $1",
      [deviceId],
    );
    device.displayName = "renamed";
    await em.flush();
    const after = await database.em().findOneOrFail(DeviceEntity, { id: deviceId });
    expect(after.displayName).toBe("renamed");
    expect(after.updatedAt.getTime()).toBeGreaterThanOrEqual(before.getTime());
  });

  it("hide deleted rows by default, but not the history that points to them", async () => {
    const ids = await storeRolloutWithDevice();
    const em = database.em();
    const changed = await em.nativeUpdate(
      FirmwareUpdateEntity,
      { id: ids.firmwareId },
      { isDeleted: true, deletedAt: new Date() },
    );
    expect(changed).toBe(1);
    expect(await em.count(FirmwareUpdateEntity, { id: ids.firmwareId })).toBe(0);
    expect(await em.findOne(FirmwareUpdateEntity, { id: ids.firmwareId })).toBeNull();
    expect(
      await em.findOne(FirmwareUpdateEntity, { id: ids.firmwareId }, { filters: { notDeleted: false } }),
    ).toMatchObject({ isDeleted: true });
    expect(await em.find(DeviceUpdateEntity, { firmwareId: ids.firmwareId })).toHaveLength(1);
  });

  it("allow a serial number and a version again once their row is deleted", async () => {
    const ids = await storeRolloutWithDevice();
    const { serialNumber } = await database.em().findOneOrFail(DeviceEntity, { id: ids.deviceId });
    const copy = { id: v7(), serialNumber, deviceType: "sensor", hardwareModel: "s1" };

    const refused = await database.em().insert(DeviceEntity, copy).catch(uniqueViolation);
    expect(refused).toBe("devices_serial_number_unique");
    await database.em().nativeUpdate(DeviceEntity, { id: ids.deviceId }, { isDeleted: true });
    await database.em().insert(DeviceEntity, copy);
    expect(await database.em().count(DeviceEntity, { serialNumber })).toBe(1);
  });

  it("refuse a second open update of one device", async () => {
    const ids = await storeRolloutWithDevice();
    const other = await storeRolloutWithDevice();
    const second = { ...updateOf({ ...other, deviceId: ids.deviceId }), id: v7() };
    const refused = await database.em().insert(DeviceUpdateEntity, second).catch(uniqueViolation);
    expect(refused).toBe("device_updates_open_unique");

    await database.em().nativeUpdate(DeviceUpdateEntity, { id: ids.updateId }, { endedAt: new Date() });
    await database.em().insert(DeviceUpdateEntity, second);
    expect(await database.em().count(DeviceUpdateEntity, { deviceId: ids.deviceId })).toBe(2);
  });
});

const offeredAt = new Date("2026-03-01T12:00:00.123Z");

interface Ids {
  deviceId: string;
  enrolmentKeyId: string;
  firmwareId: string;
  rolloutId: string;
  ringId: string;
  updateId: string;
}

/** One of everything that refers to something else, made in the worst order. */
async function storeRolloutWithDevice(): Promise<Ids> {
  const ids: Ids = {
    deviceId: v7(),
    enrolmentKeyId: v7(),
    firmwareId: v7(),
    rolloutId: v7(),
    ringId: v7(),
    updateId: v7(),
  };
  const keyId = hash(ids.firmwareId).toString("hex");
  await database.em().transactional(async (em) => {
    em.persist([
      em.create(DeviceUpdateEntity, updateOf(ids)),
      em.create(DeploymentRingEntity, {
        id: ids.ringId,
        rolloutId: ids.rolloutId,
        position: 0,
        name: "canary",
        percentBasisPoints: 500,
        state: "OPEN",
        gate: {
          minSample: 1,
          minSuccessPercent: 95,
          soakMs: 0,
          manual: false,
          requireNoWorseHealth: false,
          requireApproval: false,
        },
      }),
      em.create(RolloutEntity, {
        id: ids.rolloutId,
        name: "test",
        firmwareId: ids.firmwareId,
        state: "RUNNING",
        targeting: everyDevice,
        policy: planPolicy(
          { pauseOnFailure: false },
          { failureThresholdPercent: 10, deviceTimeoutMs: 60_000 },
        ),
        creator: "operator:test",
      }),
      em.create(FirmwareSignatureEntity, {
        id: v7(),
        firmwareId: ids.firmwareId,
        keyId,
        algorithm: "Ed25519",
        signature: randomBytes(64),
      }),
      em.create(SigningKeyEntity, { id: keyId, name: "test", algorithm: "Ed25519", publicKeyPem: "pem" }),
      em.create(FirmwareUpdateEntity, {
        id: ids.firmwareId,
        product: ids.firmwareId,
        version: "1.1.0",
        state: "RELEASED",
        sha256: keyId,
        sizeBytes: 5 * 2 ** 40,
      }),
      em.create(DeviceStateEntity, {
        deviceId: ids.deviceId,
        lastSeenAt: offeredAt,
        epoch: 0,
        lastSequence: 2 ** 53 - 1,
        firmwareVersion: "1.0.0",
        bootId: "boot",
        uptimeMs: 1,
        batteryPercent: 81.5,
        components: null,
        securityCounter: 0,
      }),
      em.create(DeviceCredentialEntity, {
        id: v7(),
        deviceId: ids.deviceId,
        secretHash: hash(ids.deviceId),
      }),
      em.create(DeviceEntity, {
        id: ids.deviceId,
        serialNumber: `serial ${ids.deviceId}`,
        deviceType: "sensor",
        hardwareModel: "s1",
        groups: ["lab", "a,b {c}"],
        metadata: { site: "north" },
        enrolmentKeyId: ids.enrolmentKeyId,
      }),
      em.create(EnrolmentKeyEntity, {
        id: ids.enrolmentKeyId,
        name: "test",
        secretHash: hash(ids.enrolmentKeyId),
      }),
    ]);
  });
  return ids;
}

function updateOf(ids: Ids) {
  return {
    deviceId: ids.deviceId,
    id: ids.updateId,
    rolloutId: ids.rolloutId,
    ringId: ids.ringId,
    firmwareId: ids.firmwareId,
    action: "INSTALL",
    state: "OFFERED",
    fromVersion: "1.0.0",
    toVersion: "1.1.0",
    offeredAt,
  } as const;
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
