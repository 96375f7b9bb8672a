import { describe, expect, it } from "vitest";
import type { SimulatedDevice } from "./rollout-fixture.ts";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  release,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

const minute = 60_000;
const gate = { minSample: 1, minSuccessPercent: 0, soakMs: minute, manual: true };

async function succeeded(size: number, rings = [{ name: "all", percent: 100, gate }]) {
  await using cleanup = new AsyncDisposableStack();
  const world = cleanup.use(await createWorld());
  const replica = cleanup.use(await startReplica(world));
  const old = await release(world, "1.0.0");
  const older = await release(world, "0.9.0");
  const firmwareId = await release(world, "1.1.0");
  const fleet = await Fleet.enrol(world, size);
  const { id } = await run(replica, wanted(firmwareId, { rings }));
  const { catalog } = replica.engine;
  const offers = await fleet.offers(replica);
  await fleet.take(replica, offers);
  await until(replica, id, () => {
    for (const [device] of offers) expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
  });
  world.clock.advance(6 * minute);
  fleet.beat(replica);
  await until(replica, id, () => expect(replica.engine.tracker.size).toBe(0));
  const devices = offers.map(([device]) => device);
  const owned = cleanup.move();
  return {
    world,
    replica,
    fleet,
    id,
    catalog,
    old,
    older,
    firmwareId,
    devices,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe("taking back a part", () => {
  it("one device alone goes back, and is not offered the update again", async () => {
    await using test = await succeeded(3);
    const { replica, fleet, id, catalog, world } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const call = { id, deviceId: device.id, actor, reason: "odd noises" };
    const back = await catalog.rollbackDevice(call);
    expect(back).toMatchObject({ action: "ROLLBACK", state: "OFFERED", toVersion: "1.0.0" });
    expect((await catalog.rollbackDevice(call)).id).toBe(back.id);
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
    await goBack(test, [device]);
    const after = await until(replica, id, (rollout) => expect(rollout.rollback.completed).toBe(1));
    expect(after).toMatchObject({ state: "RUNNING", rollback: { total: 1, failed: 0 } });
    expect(await fleet.check(replica, device)).toMatchObject({ kind: "none" });
    await expectExactCounters(world);
    // A rollback of the rest leaves it alone.
    const rolling = await catalog.rollback({ id, actor, reason: "" });
    expect(rolling.rollback).toMatchObject({ total: 3, completed: 1 });
    await expectExactCounters(world);
  });

  it("one ring goes back and the rollout pauses", async () => {
    const rings = [
      { name: "first", percent: 50, gate },
      { name: "second", percent: 100, gate },
    ];
    await using test = await succeeded(20, rings);
    const { replica, id, catalog, devices, world } = test;
    await expect(catalog.rollbackRing({ id, ring: "second", actor, reason: "" })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    const paused = await catalog.rollbackRing({ id, ring: "first", actor, reason: "hot" });
    expect(paused.state).toBe("PAUSED");
    expect(ringOf(paused, "first").state).toBe("FAILED");
    expect(paused.rollback.total).toBe(devices.length);
    await until(replica, id, () => expect(replica.engine.tracker.size).toBe(devices.length));
    await goBack(test, devices);
    const after = await until(replica, id, (rollout) =>
      expect(rollout.rollback.completed).toBe(devices.length),
    );
    expect(after.state).toBe("PAUSED");
    await expectExactCounters(world);
  });

  it("goes to a named version, but never to one that was itself taken back", async () => {
    await using test = await succeeded(2);
    const { replica, id, catalog, older, old, firmwareId, world } = test;
    const refused = { code: "failed_precondition", reason: "ROLLBACK_TARGET_REFUSED" };
    await expect(catalog.rollback({ id, actor, reason: "", firmwareId: firmwareId })).rejects.toMatchObject(
      refused,
    );
    const bad = await run(replica, wanted(old, { rings: [{ name: "all", percent: 100, gate }] }));
    await catalog.rollback({ id: bad.id, actor, reason: "" });
    await until(replica, bad.id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    await expect(catalog.rollback({ id, actor, reason: "", firmwareId: old })).rejects.toMatchObject(refused);
    const rolling = await catalog.rollback({ id, actor, reason: "", firmwareId: older });
    expect(rolling.rollback).toMatchObject({ total: 2, failed: 0 });
    const updates = await catalog.listDeviceUpdates(
      { rolloutId: id, states: [], action: "ROLLBACK" },
      { limit: 9 },
    );
    expect(updates.map(({ toVersion }) => toVersion)).toEqual(["0.9.0", "0.9.0"]);
    await expectExactCounters(world);
  });

  it("stops with an alert when a device's security counter rises before it went back", async () => {
    await using test = await succeeded(1);
    const { replica, fleet, id, catalog } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    await catalog.rollback({ id, actor, reason: "" });
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
    device.securityCounter = 7;
    fleet.beat(replica);
    const over = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(over.rollback).toEqual({ total: 1, completed: 0, failed: 1, blocked: 1 });
    expect(over.alert).toContain("1 devices must not be taken back");
  });
});

type Test = Awaited<ReturnType<typeof succeeded>>;

async function goBack({ replica, fleet }: Test, devices: readonly SimulatedDevice[]): Promise<void> {
  const offers = await fleet.offers(replica, [...devices]);
  expect(offers).toHaveLength(devices.length);
  await fleet.take(replica, offers);
}
