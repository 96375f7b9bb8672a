import { describe, expect, it } from "vitest";
import type { NewPolicy } from "../../src/rollout/model/new-rollout.ts";
import { eventually } from "../support/eventually.ts";
import {
  createWorld,
  expectExactCounters,
  Fleet,
  gate,
  minute,
  openReplica,
  type Replica,
  release,
  report,
  run,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const rings = [{ name: "all", percent: 100, gate }];

/** A rollout of a version to everybody. */
async function roll(world: World, replica: Replica, version: string, policy: NewPolicy = {}) {
  const firmwareId = await release(world, version);
  return run(replica, wanted(firmwareId, { rings, policy: { pauseOnFailure: true, ...policy } }));
}

async function counters(replica: Replica, id: string) {
  const { rings: all } = await replica.engine.catalog.get(id);
  const { offered, inProgress, cancelled } = all[0]?.counters ?? {};
  return { offered, inProgress, cancelled };
}

const nobody = { offered: 0, inProgress: 0, cancelled: 0 };
const one = { offered: 1, inProgress: 1, cancelled: 0 };

describe("an update that a device has not begun to install", () => {
  it("gives way to a newer version of higher priority when the device asks, and counts as not made", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 1);
    const first = await roll(world, replica, "1.1.0");
    const [[device, update] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined) throw new Error("no offer");
    await report(replica, device.id, update.id, "DOWNLOADING");
    const second = await roll(world, replica, "1.2.0", { priority: 100 });

    const [[, next] = []] = await fleet.offers(replica);
    expect(next?.toVersion).toBe("1.2.0");
    expect(await counters(replica, first.id)).toEqual(nobody);
    expect(await counters(replica, second.id)).toEqual(one);
    // What it says of the first one is answered, and changes nothing; its content is gone for this device.
    expect(await report(replica, device.id, update.id, "INSTALLING")).toBe("SUPERSEDED");
    const range = { offset: 0, limit: 0, signal: AbortSignal.timeout(5_000) };
    await expect(replica.engine.offers.openDownload(device.id, update.id, range)).rejects.toMatchObject({
      reason: "NOT_OFFERED",
    });
    // And it is given the same again each time.
    expect((await fleet.offers(replica))[0]?.[1].id).toBe(next?.id);
    await expectExactCounters(world);
  });

  it("gives way at once on a stream, which is told to stop, also by another replica", async () => {
    await using world = await createWorld();
    await using replica = await startReplica(world);
    await using other = await startReplica(world);
    const fleet = await Fleet.enrol(world, 1);
    fleet.beat(replica);
    fleet.beat(other);
    await replica.states.flush();
    await roll(world, replica, "1.1.0");
    const [[device, update] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined) throw new Error("no offer");
    await report(replica, device.id, update.id, "DOWNLOADING");
    other.connected.add(device.id);
    const second = await roll(world, replica, "1.2.0", { priority: 1 });
    await expect.poll(() => other.directives).toContain(`${device.id} available ${second.id}`);
    expect(other.directives).toContain(`${device.id} cancel ${update.id}`);
    expect((await fleet.offers(replica))[0]?.[1].rolloutId).toBe(second.id);
    await expectExactCounters(world);
  });

  it("is made again after the other one failed, once", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 1);
    const first = await roll(world, replica, "1.1.0");
    await fleet.offers(replica);
    await roll(world, replica, "1.2.0", { priority: 1 });
    const [[device, bad] = []] = await fleet.offers(replica);
    if (device === undefined || bad === undefined) throw new Error("no offer");
    await report(replica, device.id, bad.id, "FAILED", "BAD");
    const [[, again] = []] = await fleet.offers(replica);
    expect(again?.rolloutId).toBe(first.id);
    expect(await counters(replica, first.id)).toEqual(one);
    await report(replica, device.id, again?.id ?? "", "FAILED", "BAD");
    expect(await fleet.offers(replica)).toEqual([]);
    await expectExactCounters(world);
  });

  it("goes on while the other one has no room for the device", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 2);
    const first = await roll(world, replica, "1.1.0");
    await fleet.offers(replica);
    const second = await roll(world, replica, "1.2.0", { priority: 1, maxInProgress: 1 });
    const given = (await fleet.offers(replica)).map(([, { rolloutId }]) => rolloutId);
    expect(given.toSorted()).toEqual([first.id, second.id].toSorted());
    expect(await counters(replica, first.id)).toEqual(one);
    await expectExactCounters(world);
  });

  it.each([
    ["of the same priority", "1.2.0", {}],
    ["of lower priority", "1.2.0", { priority: -1 }],
    ["with an older version", "1.0.5", { priority: 1 }],
  ])("does not give way to a rollout %s", async (_what, version, policy) => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 1);
    const first = await roll(world, replica, "1.1.0");
    await fleet.offers(replica);
    await roll(world, replica, version, policy);
    expect((await fleet.offers(replica))[0]?.[1].rolloutId).toBe(first.id);
  });

  it("does not give way any more once it installs, also where that is not known yet", async () => {
    await using world = await createWorld();
    await using replica = await startReplica(world);
    await using other = await startReplica(world);
    const fleet = await Fleet.enrol(world, 1);
    const first = await roll(world, replica, "1.1.0");
    const [[device, update] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined) throw new Error("no offer");
    await until(other, first.id, () => expect(other.engine.tracker.get(device.id)).toBeDefined());
    const second = await roll(world, replica, "1.2.0", { priority: 1 });
    await expect.poll(() => other.engine.index.get(second.id)).toBeDefined();
    await report(replica, device.id, update.id, "INSTALLING");
    expect((await fleet.offers(other))[0]?.[1].id).toBe(update.id);
    expect(await counters(replica, first.id)).toEqual(one);
    expect(await counters(replica, second.id)).toEqual(nobody);
    await expectExactCounters(world);
  });
});

describe("a rollout that a newer one overtook", () => {
  it("ends by itself", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const fleet = await Fleet.enrol(world, 3);
    const policy = { verificationMs: 0, pauseOnFailure: false };
    const first = await roll(world, replica, "1.1.0", policy);
    await replica.engine.census();
    await fleet.offers(replica);
    const second = await roll(world, replica, "1.2.0", { ...policy, priority: 1 });
    await fleet.take(replica, await fleet.offers(replica));
    // As often as it takes on a machine that is busy: what a pass begins, a later one sees the end of.
    await eventually(async () => {
      world.clock.advance(minute);
      fleet.beat(replica);
      await replica.states.flush();
      await replica.engine.tick();
      await replica.engine.census();
      for (const { id } of [first, second]) {
        const { state, alert } = await catalog.get(id);
        expect([state, alert]).toEqual(["COMPLETED", ""]);
      }
    });
    expect((await catalog.get(first.id)).stateReason).toContain("no device is in it");
    await expectExactCounters(world);
  });

  it("says which devices it still waits for", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const fleet = await Fleet.enrol(world, 2);
    const policy = { verificationMs: 0, pauseOnFailure: false };
    const first = await roll(world, replica, "1.1.0", policy);
    const second = await roll(world, replica, "1.2.0", policy);
    const living = fleet.devices.slice(0, 1);
    await fleet.take(replica, await fleet.offers(replica, living));
    const pass = async () => {
      world.clock.advance(minute);
      fleet.beat(replica, living);
      await replica.states.flush();
      await replica.engine.tick();
      await replica.engine.census();
    };
    for (let passed = 0; passed < 12; passed++) await pass();
    await eventually(async () => {
      await pass();
      expect((await catalog.get(first.id)).alert).toContain("waits for 1 device");
    });
    // Its gate held by the one device, and whoever asks later has the update then.
    await eventually(async () => {
      await pass();
      expect((await catalog.get(second.id)).state).toBe("COMPLETED");
    });
  });
});
