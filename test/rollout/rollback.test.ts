import { describe, expect, it } from "vitest";
import {
  actor,
  expectExactCounters,
  Fleet,
  gate,
  minute,
  openReplica,
  type Replica,
  release,
  report,
  ringOf,
  run,
  type SimulatedDevice,
  until,
  wanted,
} from "./rollout-fixture.ts";

const oneRing = [{ name: "all", percent: 100, gate }];

/** Devices take what they are offered back to, and say so by their heartbeats. */
async function goBack(replica: Replica, fleet: Fleet, expected: readonly SimulatedDevice[]): Promise<void> {
  const offers = await fleet.offers(replica);
  expect(new Set(offers.map(([device]) => device.id))).toEqual(new Set(expected.map(({ id }) => id)));
  expect(offers.every(([, { action }]) => action === "ROLLBACK")).toBe(true);
  await fleet.take(replica, offers);
}

describe("automatic rollback", () => {
  it("rolls everyone back to the version before once too many fail", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 10);
    fleet.beat(replica);
    for (const device of fleet.devices) replica.connected.add(device.id);
    // The ill say nothing until they crash, for longer than a device by default may.
    const policy = { pauseOnFailure: false, returnMs: 60 * minute };
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing, policy }));
    const offers = await fleet.offers(replica);
    expect(offers).toHaveLength(10);
    const [late, ...taken] = offers;
    if (late === undefined) throw new Error("no offers");
    await report(replica, late[0].id, late[1].id, "DOWNLOADING");
    await fleet.take(replica, taken);
    world.clock.advance(5 * minute);
    // Four run well; five crash again and again.
    const well = taken.slice(0, 4).map(([device]) => device);
    const ill = taken.slice(4).map(([device]) => device);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.inProgress).toBe(10));
    fleet.beat(replica, well);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(4));
    for (let crash = 0; crash < 3; crash++) {
      for (const device of ill) fleet.reboot(device);
      fleet.beat(replica, ill);
    }
    const rolling = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLING_BACK"));
    expect(rolling.stateReason).toMatch(
      /ring all: of \d devices that began, \d failed .*the threshold is 10 %/,
    );
    expect(ringOf(rolling, "all").state).toBe("FAILED");
    // Five failed, or fewer and the rest were rolled back while they were watched: all nine had taken it.
    expect(rolling.rollback).toEqual({
      total: 9,
      completed: 0,
      failed: 0,
      blocked: 0,
      unreleased: 0,
      away: 0,
      waiting: 0,
    });
    expect(replica.rolledBackByRule.count).toBe(1);
    await expectExactCounters(world);
    // The one that was downloading is told to stop, the others that something waits.
    await until(replica, id, () => {
      expect(replica.directives).toContain(`${late[0].id} cancel ${late[1].id}`);
      for (const [device] of taken) expect(replica.directives).toContain(`${device.id} available ${id}`);
    });
    expect(await report(replica, late[0].id, late[1].id, "DOWNLOADED")).toBe("CANCELLED");

    await goBack(replica, fleet, [...well, ...ill]);
    const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toEqual({
      total: 9,
      completed: 9,
      failed: 0,
      blocked: 0,
      unreleased: 0,
      away: 0,
      waiting: 0,
    });
    expect(back.stateReason).toBe(rolling.stateReason);
    expect(fleet.devices.every(({ version }) => version === "1.0.0")).toBe(true);
    await expectExactCounters(world);
    // Nobody is offered it again.
    expect(await fleet.offers(replica)).toEqual([]);
  });

  it("works for a canary ring smaller than the sample, when all of it is done", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 3);
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing }));
    const offers = await fleet.offers(replica);
    for (const [device, update] of offers.slice(0, 2)) {
      await report(replica, device.id, update.id, "INSTALLING");
      await report(replica, device.id, update.id, "FAILED", "INSTALL_FAILED");
    }
    const [, , third] = offers;
    if (third === undefined) throw new Error("no offers");
    await replica.engine.tick();
    expect((await replica.engine.catalog.get(id)).state).toBe("RUNNING");
    await report(replica, third[0].id, third[1].id, "FAILED", "DIGEST_MISMATCH");
    world.clock.advance(minute);
    const rolling = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLING_BACK"));
    // The third never began to install.
    expect(rolling.rollback.total).toBe(2);
    // They gave up before the reboot and still run the old version: a heartbeat is enough.
    await until(replica, id, (rollout) => {
      fleet.beat(replica);
      expect(rollout.state).toBe("ROLLED_BACK");
    });
  });

  it("pauses instead where the policy says so, and resuming accepts the failures so far", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 12);
    const policy = { pauseOnFailure: true, failureCountLimit: 2 };
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing, policy }));
    const offers = await fleet.offers(replica);
    const fail = async (at: number): Promise<void> => {
      const [device, update] = offers[at] ?? [];
      if (device === undefined || update === undefined) throw new Error("no offer");
      await report(replica, device.id, update.id, "FAILED", "INSTALL_FAILED");
    };
    await fail(0);
    await fail(1);
    const paused = await until(replica, id, (rollout) => expect(rollout.state).toBe("PAUSED"));
    expect(paused.stateReason).toMatch(/^ring all: of \d devices that began, 2 failed, the limit is 2$/);
    expect(ringOf(paused, "all").state).toBe("FAILED");
    await replica.engine.catalog.resume({ id, actor, reason: "known fault" });
    await replica.engine.tick();
    expect((await replica.engine.catalog.get(id)).state).toBe("RUNNING");
    await fail(2);
    await until(replica, id, (rollout) => expect(rollout.state).toBe("PAUSED"));
    await expectExactCounters(world);
  });
});

describe("manual rollback", () => {
  it("says of each device that cannot be rolled back why", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0", { securityCounter: 1 });
    const firmwareId = await release(world, "1.2.0", { securityCounter: 2 });
    const fleet = await Fleet.enrol(world, 3);
    const [plain, unknown, fused] = fleet.devices;
    if (plain === undefined || unknown === undefined || fused === undefined) throw new Error("no devices");
    unknown.version = "0.9.0";
    fleet.beat(replica);
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing }));
    const offers = await fleet.offers(replica);
    await fleet.take(replica, offers);
    fused.securityCounter = 2;
    world.clock.advance(1_000);
    fleet.beat(replica);
    await until(replica, id, async () => {
      const { rows } = await world.database.adminPool.query(
        "SELECT 1 FROM device_state WHERE security_counter = 2",
      );
      expect(rows).toHaveLength(1);
    });
    await until(replica, id, () => {
      for (const { id: device } of fleet.devices)
        expect(replica.engine.tracker.get(device)?.state).toBe("VERIFYING");
    });
    const rolling = await replica.engine.catalog.rollback({ id, actor, reason: "smells odd" });
    expect(rolling.state).toBe("ROLLING_BACK");
    expect(rolling.rollback).toEqual({
      total: 3,
      completed: 0,
      failed: 2,
      blocked: 2,
      unreleased: 1,
      away: 0,
      waiting: 0,
    });
    expect(ringOf(rolling, "all").counters).toMatchObject({ inProgress: 0, rolledBack: 3 });
    const updates = await replica.engine.catalog.listDeviceUpdates(
      { rolloutId: id, states: [], action: "ROLLBACK" },
      { limit: 10 },
    );
    const reasons = Object.fromEntries(updates.map((update) => [update.deviceId, update.failureReason]));
    expect(reasons).toEqual({
      [plain.id]: "",
      [unknown.id]: "ROLLBACK_TARGET_MISSING",
      [fused.id]: "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER",
    });
    // The same again changes nothing.
    expect(await replica.engine.catalog.rollback({ id, actor, reason: "" })).toMatchObject({
      revision: rolling.revision,
    });
    await until(replica, id, () => expect(replica.engine.tracker.get(plain.id)?.action).toBe("ROLLBACK"));
    await goBack(replica, fleet, [plain]);
    const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toEqual({
      total: 3,
      completed: 1,
      failed: 2,
      blocked: 2,
      unreleased: 1,
      away: 0,
      waiting: 0,
    });
    expect(back.alert).toBe(
      "not rolled back: 1 device until version 0.9.0 is released; 1 device that must not be, as their updates say",
    );
    await expectExactCounters(world);
  });

  it("leaves alone whoever never left a version that the catalogue does not have", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const fleet = await Fleet.enrol(world, 2, "0.9.0");
    const [stayed, left] = fleet.devices;
    if (stayed === undefined || left === undefined) throw new Error("no devices");
    fleet.beat(replica);
    await replica.states.flush();
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const offers = await fleet.offers(replica);
    const update = offers.find(([device]) => device === stayed)?.[1];
    if (update === undefined) throw new Error("no offer");
    await report(replica, stayed.id, update.id, "INSTALLING");
    await report(replica, stayed.id, update.id, "FAILED", "INSTALL_FAILED");
    await fleet.take(
      replica,
      offers.filter(([device]) => device === left),
    );
    await until(replica, id, () => expect(replica.engine.tracker.get(left.id)?.state).toBe("VERIFYING"));
    const { rollback, alert } = await replica.engine.catalog.rollback({ id, actor, reason: "" });
    expect(rollback).toEqual({
      total: 1,
      completed: 0,
      failed: 1,
      blocked: 1,
      waiting: 0,
      unreleased: 1,
      away: 0,
    });
    expect(alert).toBe("not rolled back: 1 device until version 0.9.0 is released");
    const of = (deviceId: string) =>
      replica.engine.catalog.listDeviceUpdates({ rolloutId: id, deviceId, states: [] }, { limit: 1 });
    expect(await of(stayed.id)).toMatchObject([{ action: "INSTALL", state: "FAILED" }]);
    expect(await of(left.id)).toMatchObject([{ failureReason: "ROLLBACK_TARGET_MISSING" }]);
    await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    await expectExactCounters(world);
  });

  it("makes rollbacks with higher ids than all that their devices had, also in the same millisecond", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const fleet = await Fleet.enrol(world, 8);
    fleet.beat(replica);
    const firmwareId = await release(world, "1.1.0");
    const { id } = await run(
      replica,
      wanted(firmwareId, { rings: oneRing, policy: { pauseOnFailure: false, verificationMs: 0 } }),
    );
    await fleet.take(replica, await fleet.offers(replica));
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(8));
    // From here on the clock stands still.
    const maps = await run(
      replica,
      wanted(await release(world, "2.0.0", { component: "maps" }), { rings: oneRing }),
    );
    expect(await fleet.offers(replica)).toHaveLength(8);
    await replica.engine.catalog.abort({ id: maps.id, actor, reason: "" });
    await replica.engine.catalog.rollback({ id, actor, reason: "" });
    const { rows } = await world.database.adminPool.query<{ newest: string; at: string }>(
      `SELECT (array_agg(action ORDER BY id DESC))[1] AS newest, count(DISTINCT offered_at)::text AS at
         FROM device_updates GROUP BY device_id`,
    );
    expect(rows).toEqual(fleet.devices.map(() => ({ newest: "ROLLBACK", at: "2" })));
    await expectExactCounters(world);
  });

  it("ends even if a device is never heard from again", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 1);
    const { id } = await run(replica, wanted(firmwareId, { rings: oneRing }));
    await fleet.take(replica, await fleet.offers(replica));
    await until(replica, id, () =>
      expect(replica.engine.tracker.get(fleet.devices[0]?.id ?? "")?.state).toBe("VERIFYING"),
    );
    await replica.engine.catalog.rollback({ id, actor, reason: "" });
    world.clock.advance(24 * 60 * minute + 1);
    const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toEqual({
      total: 1,
      completed: 0,
      failed: 1,
      blocked: 0,
      unreleased: 0,
      away: 1,
      waiting: 0,
    });
  });

  it("takes the place of what another rollout offered meanwhile, and leaves alone who moved on", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const first = await release(world, "1.1.0");
    const second = await release(world, "1.2.0");
    const fleet = await Fleet.enrol(world, 2);
    const { id } = await run(replica, wanted(first, { rings: oneRing }));
    await fleet.take(replica, await fleet.offers(replica));
    world.clock.advance(5 * minute);
    await until(replica, id, () => {
      for (const device of fleet.devices)
        expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
    });
    fleet.beat(replica);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(2));
    const other = await run(replica, wanted(second, { rings: oneRing }));
    const offers = await fleet.offers(replica);
    expect(offers.map(([, { toVersion }]) => toVersion)).toEqual(["1.2.0", "1.2.0"]);
    const [stays, moves] = offers;
    if (stays === undefined || moves === undefined) throw new Error("no offers");
    await fleet.take(replica, [moves]);
    await until(replica, id, () => expect(replica.engine.tracker.get(moves[0].id)?.state).toBe("VERIFYING"));
    const rolling = await replica.engine.catalog.rollback({ id, actor, reason: "" });
    expect(rolling.rollback.total).toBe(1);
    const superseded = await replica.engine.catalog.listDeviceUpdates(
      { rolloutId: other.id, states: ["SUPERSEDED"] },
      { limit: 10 },
    );
    expect(superseded.map(({ deviceId }) => deviceId)).toEqual([stays[0].id]);
    await expectExactCounters(world);
    // The offer that made way counts as not made: once the device is back it is made again.
    expect(ringOf(await replica.engine.catalog.get(other.id), "all").counters).toMatchObject({
      offered: 1,
      cancelled: 0,
    });
    const back = await fleet.offers(replica, [stays[0]]);
    expect(back.map(([, { action, toVersion }]) => `${action} ${toVersion}`)).toEqual(["ROLLBACK 1.0.0"]);
    await fleet.take(replica, back);
    await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    const again = await fleet.offers(replica, [stays[0]]);
    expect(again.map(([, { action, toVersion }]) => `${action} ${toVersion}`)).toEqual(["INSTALL 1.2.0"]);
    await expectExactCounters(world);
    // Where it is rolled back to from there is where it came from then, not what it had in between.
    await fleet.take(replica, again);
    await until(replica, id, () => expect(replica.engine.tracker.get(stays[0].id)?.state).toBe("VERIFYING"));
    await replica.engine.catalog.rollback({ id: other.id, actor, reason: "" });
    const home = await fleet.offers(replica, [stays[0]]);
    expect(home.map(([, { action, toVersion }]) => `${action} ${toVersion}`)).toEqual(["ROLLBACK 1.0.0"]);
    await expectExactCounters(world);
  });

  it("of an application rolls devices back that have moved on to other firmware since", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0", { component: "nav" });
    const application = await release(world, "1.1.0", { component: "nav" });
    const firmware = await release(world, "2.0.0");
    const fleet = await Fleet.enrol(world, 1);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    device.components = { nav: "1.0.0" };
    fleet.beat(replica);
    const policy = { pauseOnFailure: false, verificationMs: 0 };
    const { id } = await run(replica, wanted(application, { rings: oneRing, policy }));
    for (const version of ["1.1.0", "2.0.0"]) {
      if (version === "2.0.0") await run(replica, wanted(firmware, { rings: oneRing, policy }));
      const [offer] = await fleet.offers(replica);
      expect(offer?.[1].toVersion).toBe(version);
      await report(replica, device.id, offer?.[1].id ?? "", "INSTALLING");
      if (version === "1.1.0") device.components = { nav: version };
      else fleet.reboot(device, version);
      await until(replica, id, () => {
        fleet.beat(replica);
        expect(replica.engine.tracker.get(device.id)).toBeUndefined();
      });
    }
    const rolling = await replica.engine.catalog.rollback({ id, actor, reason: "" });
    expect(rolling.rollback).toMatchObject({ total: 1, failed: 0 });
    const [[, back] = []] = await fleet.offers(replica);
    expect(back).toMatchObject({ action: "ROLLBACK", component: "nav", toVersion: "1.0.0" });
    await expectExactCounters(world);
  });
});
