import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { SimulatedDevice } from "./rollout-fixture.ts";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

const gate = { minSample: 1, minSuccessPercent: 0, soakMs: minute, manual: true };

async function succeeded(size: number, rings = [{ name: "all", percent: 100, gate }]) {
  await using cleanup = new AsyncDisposableStack();
  const { world, replica } = cleanup.use(await openReplica());
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

describe("rolling back a part", () => {
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

  it("goes to a named version, but never to one that was itself rolled back", async () => {
    await using test = await succeeded(2);
    const { replica, id, catalog, older, old, firmwareId, world } = test;
    const refused = { code: "failed_precondition", reason: "ROLLBACK_TARGET_REFUSED" };
    await expect(catalog.rollback({ id, actor, reason: "", firmwareId: firmwareId })).rejects.toMatchObject(
      refused,
    );
    const aged = await Fleet.enrol(world, 1, "0.9.0");
    aged.beat(replica);
    const first = { pauseOnFailure: false, priority: 1 };
    const bad = await run(
      replica,
      wanted(old, { rings: [{ name: "all", percent: 100, gate }], policy: first }),
    );
    await aged.offers(replica);
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
    expect(over.rollback).toEqual({
      total: 1,
      completed: 0,
      failed: 1,
      blocked: 1,
      unreleased: 0,
      away: 0,
      waiting: 0,
    });
    expect(over.alert).toContain("1 device that must not be");
  });
});

describe("the rollback of one component", () => {
  const gated = { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: false };
  const oneGatedRing = [{ name: "all", percent: 100, gate: gated }];
  const policy = { pauseOnFailure: false, verificationMs: minute };

  /** Devices that took the application 1.1.0 and are offered the firmware 2.0.0 by another rollout. */
  async function scene(size: number, firmwareTimeoutMs = 24 * 60 * minute) {
    await using cleanup = new AsyncDisposableStack();
    const world = cleanup.use(await createWorld());
    const replica = cleanup.use(await startReplica(world));
    await release(world, "1.0.0");
    await release(world, "1.0.0", { component: "nav" });
    const application = await release(world, "1.1.0", { component: "nav" });
    const firmware = await release(world, "2.0.0");
    const fleet = await Fleet.enrol(world, size);
    for (const device of fleet.devices) device.components = { nav: "1.0.0" };
    fleet.beat(replica);
    const { id } = await run(replica, wanted(application, { rings: oneGatedRing, policy }));
    for (const [device, { id: update, toVersion }] of await fleet.offers(replica)) {
      await report(replica, device.id, update, "INSTALLING");
      device.components = { nav: toVersion };
    }
    await eventually(() => {
      world.clock.advance(minute);
      fleet.beat(replica);
      expect(replica.engine.tracker.size).toBe(0);
    });
    const slow = { ...policy, deviceTimeoutMs: firmwareTimeoutMs };
    const other = await run(replica, wanted(firmware, { rings: oneGatedRing, policy: slow }));
    const offers = await fleet.offers(replica);
    expect(offers.map(([, { toVersion }]) => toVersion)).toEqual(fleet.devices.map(() => "2.0.0"));
    const owned = cleanup.move();
    return {
      world,
      replica,
      fleet,
      id,
      otherId: other.id,
      offers,
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  }

  async function takeNavBack(
    { world, replica, fleet, id }: Awaited<ReturnType<typeof scene>>,
    devices: readonly SimulatedDevice[],
  ): Promise<void> {
    for (const [device, update] of await fleet.offers(replica, [...devices])) {
      expect(update).toMatchObject({ action: "ROLLBACK", component: "nav", toVersion: "1.0.0" });
      await report(replica, device.id, update.id, "INSTALLING");
      device.components = { nav: "1.0.0" };
      world.clock.advance(5_000);
      fleet.beat(replica, [device]);
    }
    await until(replica, id, () => {
      for (const device of devices) expect(replica.engine.tracker.get(device.id)).toBeUndefined();
    });
  }

  it("waits for devices that are at another component, however that ends, also over a restart", async () => {
    await using test = await scene(4);
    const { world, replica, fleet, id, otherId, offers } = test;
    const [asked, installs, verifies, fails] = offers;
    if (!asked || !installs || !verifies || !fails) throw new Error("no offers");
    for (const [device, update] of [installs, fails])
      await report(replica, device.id, update.id, "INSTALLING");
    await fleet.take(replica, [verifies]);
    await until(replica, id, () =>
      expect(replica.engine.tracker.get(verifies[0].id)?.state).toBe("VERIFYING"),
    );
    await replica.engine.catalog.rollback({ id, actor, reason: "" });
    await until(replica, id, ({ rollback }) => expect(rollback).toMatchObject({ total: 1, waiting: 3 }));
    // What the others are at was not touched; an offer that nobody began with gave way, and counts as not made.
    expect((await replica.engine.catalog.get(id)).state).toBe("ROLLING_BACK");
    for (const [device, update] of [installs, verifies, fails])
      expect(replica.engine.tracker.get(device.id)?.id).toBe(update.id);
    expect(ringOf(await replica.engine.catalog.get(otherId), "all").counters).toMatchObject({
      offered: 3,
      inProgress: 3,
      cancelled: 0,
    });
    await expectExactCounters(world);
    await eventually(() => expect(replica.engine.tracker.get(asked[0].id)?.action).toBe("ROLLBACK"));
    await takeNavBack(test, [asked[0]]);

    await report(replica, fails[0].id, fails[1].id, "FAILED", "INSTALL_FAILED");
    await until(replica, id, (rollout) => expect(rollout.rollback.total).toBe(2));
    await eventually(() => expect(replica.engine.tracker.get(fails[0].id)?.action).toBe("ROLLBACK"));
    await takeNavBack(test, [fails[0]]);
    // A replica that has not seen how it began goes on with it.
    await replica.engine.close();
    await using next = await startReplica(world);
    world.clock.advance(2 * minute);
    fleet.beat(next, [verifies[0]]);
    await until(next, id, (rollout) => expect(rollout.rollback).toMatchObject({ total: 3, completed: 2 }));
    await eventually(() => expect(next.engine.tracker.get(verifies[0].id)?.action).toBe("ROLLBACK"));
    // Once back, the device whose offer gave way is offered it again. Calling the other rollout off frees nobody who installs.
    const [again] = await fleet.offers(next, [asked[0]]);
    expect(again?.[1]).toMatchObject({ action: "INSTALL", component: "", toVersion: "2.0.0" });
    await next.engine.catalog.abort({ id: otherId, actor, reason: "" });
    expect(next.engine.tracker.get(installs[0].id)?.action).toBe("INSTALL");
    await takeNavBack({ ...test, replica: next }, [verifies[0]]);
    expect((await next.engine.catalog.get(id)).state).toBe("ROLLING_BACK");
    await fleet.take(next, [installs]);
    world.clock.advance(2 * minute);
    await eventually(() => {
      fleet.beat(next, [installs[0]]);
      expect(next.engine.tracker.get(installs[0].id)?.action).toBe("ROLLBACK");
    });
    await takeNavBack({ ...test, replica: next }, [installs[0]]);
    const back = await until(next, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toEqual({
      total: 4,
      completed: 4,
      failed: 0,
      blocked: 0,
      unreleased: 0,
      away: 0,
      waiting: 0,
    });
    await expectExactCounters(world);
  });

  it("leaves the rollback of another one alone, and is made after it", async () => {
    await using test = await scene(1);
    const { world, replica, fleet, id, otherId, offers } = test;
    await fleet.take(replica, offers);
    const [[device] = []] = offers;
    if (device === undefined) throw new Error("no offer");
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
    await replica.engine.catalog.rollback({ id: otherId, actor, reason: "" });
    await replica.engine.catalog.rollback({ id, actor, reason: "" });
    await replica.engine.tick();
    const [first] = await fleet.offers(replica);
    expect(first?.[1]).toMatchObject({ action: "ROLLBACK", component: "", toVersion: "1.0.0" });
    if (first !== undefined) await fleet.take(replica, [first]);
    const other = await until(replica, otherId, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(other.rollback).toMatchObject({ total: 1, completed: 1, failed: 0 });
    await eventually(() => expect(replica.engine.tracker.get(device.id)?.component).toBe("nav"));
    await takeNavBack(test, [device]);
    const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toMatchObject({ total: 1, completed: 1, failed: 0 });
    await expectExactCounters(world);
  });

  it("ends although a device stays at another one; for one device it waits while the rollout goes on", async () => {
    await using test = await scene(2, 72 * 60 * minute);
    const { world, replica, id, offers } = test;
    const [stays, goes] = offers;
    if (!stays || !goes) throw new Error("no offers");
    await report(replica, stays[0].id, stays[1].id, "INSTALLING");
    await report(replica, goes[0].id, goes[1].id, "DOWNLOADING");
    const call = { id, deviceId: goes[0].id, actor, reason: "" };
    expect(await replica.engine.catalog.rollbackDevice(call)).toMatchObject({ action: "INSTALL" });
    expect((await replica.engine.catalog.get(id)).rollback).toMatchObject({ total: 0, waiting: 1 });
    // The rules go on while it waits.
    await eventually(async () => {
      world.clock.advance(minute);
      await replica.engine.tick();
      expect((await replica.engine.catalog.get(id)).state).toBe("COMPLETED");
    });
    await report(replica, goes[0].id, goes[1].id, "FAILED", "INSTALL_FAILED");
    await until(replica, id, (rollout) => expect(rollout.rollback.total).toBe(1));
    await eventually(() => expect(replica.engine.tracker.get(goes[0].id)?.action).toBe("ROLLBACK"));
    await takeNavBack(test, [goes[0]]);
    const rolling = await replica.engine.catalog.rollback({ id, actor, reason: "" });
    expect(rolling).toMatchObject({ state: "ROLLING_BACK", rollback: { total: 1, completed: 1 } });
    world.clock.advance(25 * 60 * minute);
    // The device is there all the time.
    test.fleet.beat(replica);
    const over = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(over.rollback).toEqual({
      total: 2,
      completed: 1,
      failed: 1,
      blocked: 0,
      unreleased: 0,
      away: 0,
      waiting: 0,
    });
    const [failed] = await replica.engine.catalog.listDeviceUpdates(
      { rolloutId: id, deviceId: stays[0].id, states: [], action: "ROLLBACK" },
      { limit: 2 },
    );
    expect(failed).toMatchObject({ state: "FAILED", failureReason: "DEVICE_BUSY" });
    expect(replica.engine.tracker.get(stays[0].id)?.id).toBe(stays[1].id);
    await expectExactCounters(world);
  });

  it("is not given up for a step of the clock", async () => {
    await using test = await scene(1, 72 * 60 * minute);
    const { world, replica, id, offers } = test;
    const [[device, update] = []] = offers;
    await report(replica, device?.id ?? "", update?.id ?? "", "INSTALLING");
    await replica.engine.catalog.rollback({ id, actor, reason: "" });
    world.clock.setWallClock(new Date(world.clock.now().getTime() + 25 * 60 * minute));
    for (let looks = 0; looks < 3; looks++) await replica.engine.tick();
    const { rollback, state } = await replica.engine.catalog.get(id);
    expect([state, rollback]).toMatchObject(["ROLLING_BACK", { total: 0, failed: 0, waiting: 1 }]);
  });
});

type Test = Awaited<ReturnType<typeof succeeded>>;

async function goBack({ replica, fleet }: Test, devices: readonly SimulatedDevice[]): Promise<void> {
  const offers = await fleet.offers(replica, [...devices]);
  expect(offers).toHaveLength(devices.length);
  await fleet.take(replica, offers);
}
