import { describe, expect, it } from "vitest";
import { ChangedDeviceUpdates } from "../../src/rollout/changed-device-updates.ts";
import type { NewRollout } from "../../src/rollout/model/new-rollout.ts";
import {
  actor,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  type Replica,
  release,
  report,
  ringOf,
  run,
  type SimulatedDevice,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const gate = { minSample: 1, minSuccessPercent: 90, soakMs: 0, manual: false };
const rings = [{ name: "all", percent: 100, gate }];
const quick = { pauseOnFailure: false, verificationMs: 0, retryBackoffMs: minute };

/** A fleet that took 2.0.0 from 1.0.0, with the rollout that brought it. */
async function updated(size: number, policy: NewRollout["policy"] = quick) {
  await using cleanup = new AsyncDisposableStack();
  const { world, replica, catalog } = cleanup.use(await openReplica());
  await release(world, "1.0.0");
  const firmwareId = await release(world, "2.0.0");
  const fleet = await Fleet.enrol(world, size);
  fleet.beat(replica);
  const { id } = await run(replica, wanted(firmwareId, { rings, policy }));
  await fleet.take(replica, await fleet.offers(replica));
  await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(size));
  const owned = cleanup.move();
  return {
    world,
    replica,
    catalog,
    fleet,
    id,
    firmwareId,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Devices come back on another version, by themselves or otherwise. */
function fall(replica: Replica, fleet: Fleet, devices: readonly SimulatedDevice[], version: string): void {
  for (const device of devices) fleet.reboot(device, version);
  fleet.beat(replica, [...devices]);
}

async function auditOf(replica: Replica, id: string, action: string) {
  const events = await replica.audit.list({ resourceId: id, action }, { limit: 10 });
  return events.map(({ reason }) => reason);
}

describe("a device that falls back by itself after it succeeded", () => {
  it("has drifted: it is counted, listed, told, and so until it is back", async () => {
    await using test = await updated(3);
    const { world, replica, catalog, fleet, id } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    fall(replica, fleet, [device], "1.0.0");
    const drifted = await until(replica, id, (rollout) => {
      expect(ringOf(rollout, "all").counters).toMatchObject({ succeeded: 3, drifted: 1 });
      expect(rollout.alert).toMatch(/^drift: 1 device that succeeded runs an older version than 2.0.0 again/);
    });
    expect(drifted.state).toBe("COMPLETED");
    const listed = await catalog.listDeviceUpdates(
      { rolloutId: id, states: [], drifted: true },
      { limit: 9 },
    );
    expect(listed).toMatchObject([{ deviceId: device.id, state: "SUCCEEDED", driftedTo: "1.0.0" }]);
    expect(await auditOf(replica, id, "rollout.devices_drifted")).toEqual([
      "1 device that succeeded runs an older version again",
    ]);
    await until(replica, id, () => expect(replica.engine.drifted).toBe(1));
    await expectExactCounters(world);

    fall(replica, fleet, [device], "v2.0.0+build.7");
    await until(replica, id, (rollout) => {
      expect(ringOf(rollout, "all").counters.drifted).toBe(0);
      expect(rollout.alert).toBe("");
    });
    expect(await auditOf(replica, id, "rollout.devices_recovered")).toHaveLength(1);
    await expectExactCounters(world);
  });

  it("is offered the firmware again when an operator says so", async () => {
    await using test = await updated(1);
    const { world, replica, catalog, fleet, id } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    fall(replica, fleet, [device], "1.0.0");
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.drifted).toBe(1));
    await catalog.retryDevice({ id, deviceId: device.id, actor, reason: "once more" });
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.attempt).toBe(2));
    const offers = await fleet.offers(replica);
    expect(offers).toMatchObject([[{}, { action: "INSTALL", fromVersion: "1.0.0", toVersion: "2.0.0" }]]);
    await expectExactCounters(world);
    await fleet.take(replica, offers);
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "all").counters).toMatchObject({ offered: 1, succeeded: 1, drifted: 0 }),
    );
    await expectExactCounters(world);
  });

  it("is healed as often as the policy says, and no more", async () => {
    await using test = await updated(1, { ...quick, healDrift: 2 });
    const { world, replica, fleet, id } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    for (const attempt of [2, 3]) {
      fall(replica, fleet, [device], "1.0.0");
      await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.attempt).toBe(attempt));
      expect(await fleet.check(replica, device)).toMatchObject({ reason: "BACKING_OFF" });
      world.clock.advance(5 * minute);
      const offers = await fleet.offers(replica);
      expect(offers).toHaveLength(1);
      await fleet.take(replica, offers);
      await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(1));
      await expectExactCounters(world);
    }
    fall(replica, fleet, [device], "1.0.0");
    await until(replica, id, (rollout) => expect(rollout.alert).toMatch(/^drift: 1 device/));
    await replica.engine.tick();
    expect(await fleet.offers(replica)).toEqual([]);
    await expectExactCounters(world);
  });

  it("is no drift if another rollout, somebody's newer version, or another board brought the version", async () => {
    await using test = await updated(3);
    const { world, replica, fleet, id } = test;
    const [moved, newer, board] = fleet.devices;
    if (moved === undefined || newer === undefined || board === undefined) throw new Error("no devices");
    const older = await release(world, "1.5.0");
    const targeting = { filter: `id = "${moved.id}"` };
    const down = wanted(older, { rings, policy: { ...quick, allowDowngrade: true }, targeting });
    const { id: other } = await run(replica, down);
    await fleet.take(replica, await fleet.offers(replica, [moved]));
    await until(replica, other, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(1));
    expect(moved.version).toBe("1.5.0");
    fall(replica, fleet, [newer], "3.0.0");
    await replaceBoard(replica, board);
    fall(replica, fleet, [board], "1.0.0");
    await allLookedAt(world, fleet.devices);
    const { alert, rings: after } = await replica.engine.catalog.get(id);
    expect({ alert, drifted: after[0]?.counters.drifted }).toEqual({ alert: "", drifted: 0 });
    await expectExactCounters(world);
  });

  it("is held against the gate of a ring that is still judged", async () => {
    const manual = [{ name: "all", percent: 100, gate: { ...gate, soakMs: 60 * minute } }];
    await using opened = await openReplica();
    const { world, replica } = opened;
    const fleet = await Fleet.enrol(world, 4);
    const { id } = await run(
      replica,
      wanted(await release(world, "2.0.0"), { rings: manual, policy: quick }),
    );
    await fleet.take(replica, await fleet.offers(replica));
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").gateHeldSince).toBeDefined());
    fall(replica, fleet, fleet.devices.slice(0, 1), "1.0.0");
    const held = await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "all").gateHeldSince).toBeUndefined(),
    );
    expect(held.state).toBe("RUNNING");
  });
});

describe("the same version again", () => {
  it("is installed when an operator asks, and proven by a reboot after the install", async () => {
    await using test = await updated(1);
    const { world, replica, catalog, fleet, id } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const call = { id, deviceId: device.id, actor, reason: "" };
    await expect(catalog.retryDevice(call)).rejects.toMatchObject({ reason: "ILLEGAL_TRANSITION" });
    await catalog.retryDevice({ ...call, reinstall: true });
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.attempt).toBe(2));
    // It runs the version, and reboots: that proves nothing yet.
    fall(replica, fleet, [device], "2.0.0");
    const offers = await fleet.offers(replica);
    expect(offers).toMatchObject([[{}, { fromVersion: "2.0.0", toVersion: "2.0.0" }]]);
    await report(replica, device.id, offers[0]?.[1].id ?? "", "INSTALLING");
    fleet.beat(replica);
    expect(replica.engine.tracker.get(device.id)?.state).toBe("INSTALLING");
    world.clock.advance(5_000);
    fall(replica, fleet, [device], "2.0.0");
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "all").counters).toMatchObject({ offered: 1, succeeded: 1, inProgress: 0 }),
    );
    expect(await fleet.offers(replica)).toEqual([]);
    await expectExactCounters(world);
  });
});

/** Another board enrols under the device's serial number. */
async function replaceBoard({ world, database }: Replica, { id }: SimulatedDevice): Promise<void> {
  world.clock.advance(1_000);
  await database.transact(async (em) => {
    await new ChangedDeviceUpdates(world.clock, minute).boardReplaced(em, id);
  });
  await database.adminPool.query("UPDATE devices SET board_since = $2 WHERE id = $1", [
    id,
    world.clock.now(),
  ]);
}

/** Waits until the database knows which versions the devices run, and all that changed was looked at. */
async function allLookedAt({ database }: World, devices: readonly SimulatedDevice[]): Promise<void> {
  await expect
    .poll(
      async () =>
        (
          await database.adminPool.query(
            "SELECT device_id AS id, firmware_version AS version FROM device_state ORDER BY 1",
          )
        ).rows,
    )
    .toEqual(devices.map(({ id, version }) => ({ id, version })).sort((a, b) => (a.id < b.id ? -1 : 1)));
  await expect
    .poll(async () => (await database.adminPool.query("SELECT FROM device_version_changes")).rowCount)
    .toBe(0);
}
