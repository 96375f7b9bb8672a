import { expect, it } from "vitest";
import { readDeviceUpdates } from "../../src/rollout/model/device-update-list.ts";
import type { NewRollout } from "../../src/rollout/model/new-rollout.ts";
import { eventually } from "../support/eventually.ts";
import { pass } from "./passing-time.ts";
import {
  createWorld,
  expectExactCounters,
  Fleet,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

const minute = 60_000;

/** Canaries are all of the fleet's devices but one in ten thousand, so that they are as many as a test needs. */
const rings: NewRollout["rings"] = [
  { name: "canary", percent: 99.99, gate: { minSample: 1, minSuccessPercent: 90, soakMs: minute } },
  { name: "early", percent: 100 },
];
const policy = { pauseOnFailure: false, verificationMs: minute };

it.each([
  { canaries: 10, silent: 9, state: "ROLLING_BACK" },
  { canaries: 10, silent: 3, state: "ROLLING_BACK" },
  { canaries: 2, silent: 1, state: "PAUSED" },
])(
  "$silent of $canaries canaries that are never heard again open no ring, and it is $state within minutes",
  async ({ canaries, silent, state }) => {
    await using world = await createWorld();
    await using replica = await startReplica(world);
    const fleet = await Fleet.enrol(world, canaries);
    await release(world, "1.0.0");
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
    const offers = await fleet.offers(replica);
    const bricked = offers.slice(0, silent);
    const well = offers.slice(silent);
    for (const [device, update] of bricked) await report(replica, device.id, update.id, "REBOOTING");
    await fleet.take(replica, well);
    const devices = well.map(([device]) => device);
    await pass(world, 6 * minute, [replica], () => fleet.beat(replica, devices));
    const rollout = await until(replica, id, (it) => expect(it.state).toBe(state));
    expect(rollout.stateReason).toContain(`${silent} ${silent === 1 ? "is" : "are"} missing`);
    expect(ringOf(rollout, "early").state).toBe("WAITING");
    await expectExactCounters(world);
  },
);

it("a missing device is shown as such by every replica, and moves to succeeded when it comes back well", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  await using other = await startReplica(world);
  const fleet = await Fleet.enrol(world, 20);
  const lenient = { ...policy, failureThresholdPercent: 50 };
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy: lenient }));
  const offers = await fleet.offers(replica);
  const late = offers.slice(0, 3);
  const well = offers.slice(3);
  for (const [device, update] of late) await report(replica, device.id, update.id, "REBOOTING");
  await fleet.take(replica, well);
  const devices = well.map(([device]) => device);
  await pass(world, 6 * minute, [replica, other], () => fleet.beat(replica, devices));
  const counted = { began: offers.length, succeeded: well.length, failed: 0 };
  const rollout = await until(other, id, (it) =>
    expect(ringOf(it, "canary").counters).toMatchObject({ ...counted, missing: 3, inProgress: 3 }),
  );
  expect(rollout.state).toBe("RUNNING");
  await until(other, id, () => expect(other.engine.tracker.missing).toBe(3));
  const page = { limit: 50 };
  const listed = await readDeviceUpdates(
    replica.database.pool,
    { rolloutId: id, states: [], missing: true },
    page,
  );
  expect(listed.map(({ deviceId }) => deviceId).toSorted()).toEqual(
    late.map(([{ id: deviceId }]) => deviceId).toSorted(),
  );

  // They come back through a replica that did not find them missing.
  const back = late.map(([device]) => device);
  for (const device of back) fleet.reboot(device, "1.1.0");
  fleet.beat(other, back);
  await until(other, id, (it) =>
    expect(ringOf(it, "canary").counters).toMatchObject({ missing: 0, inProgress: 3 }),
  );
  await pass(world, 2 * minute, [replica, other], () => fleet.beat(other, back));
  await until(other, id, (it) =>
    expect(ringOf(it, "canary").counters).toMatchObject({ succeeded: offers.length, missing: 0 }),
  );
  await expectExactCounters(world);
  const decisions = await other.audit.list({ resourceId: id }, { limit: 100 });
  expect(decisions.map(({ reason }) => reason)).toEqual(
    expect.arrayContaining(["3 devices that began to install are missing", "3 missing devices are back"]),
  );
});

it("neither a step of the clock, nor a stopped process, nor life at another replica makes a device missing", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  await using other = await startReplica(world);
  const fleet = await Fleet.enrol(world, 6);
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
  const offers = await fleet.offers(replica);
  for (const [device, update] of offers) await report(replica, device.id, update.id, "INSTALLING");
  // All of them install for long, and are heard by one replica only.
  await pass(world, 7 * minute, [replica, other], () => fleet.beat(other));
  world.clock.sleep(24 * 60 * minute);
  await pass(world, minute, [replica, other], () => undefined);
  world.clock.stall(30 * minute);
  await pass(world, minute, [replica, other], () => undefined);
  world.clock.setWallClock(new Date(world.clock.now().getTime() - 60 * minute));
  await pass(world, minute, [replica, other], () => fleet.beat(other));
  const rollout = await replica.engine.catalog.get(id);
  expect(rollout.state).toBe("RUNNING");
  expect(ringOf(rollout, "canary").counters).toMatchObject({ began: offers.length, missing: 0 });
});

it("who still downloads is never missing", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  const fleet = await Fleet.enrol(world, 6);
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
  const offers = await fleet.offers(replica);
  for (const [device, update] of offers) await report(replica, device.id, update.id, "DOWNLOADING");
  await pass(world, 7 * minute, [replica], () => undefined);
  const { counters } = ringOf(await replica.engine.catalog.get(id), "canary");
  expect(counters).toMatchObject({ inProgress: offers.length, began: 0, missing: 0 });
});

it("a device is missing by how often it is expected", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  const fleet = await Fleet.enrol(world, 20);
  const heard = async () => (await world.database.adminPool.query("SELECT 1 FROM device_state")).rowCount;
  const lenient = { ...policy, failureThresholdPercent: 50 };
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy: lenient }));
  const offers = await fleet.offers(replica);
  fleet.beat(replica);
  await eventually(async () => expect(await heard()).toBe(20));
  const silent = offers.slice(0, 2);
  const [rare] = silent;
  await world.database.adminPool.query("UPDATE devices SET expected_interval_ms = $2 WHERE id = $1", [
    rare?.[0].id,
    3 * minute,
  ]);
  for (const [device, update] of silent) await report(replica, device.id, update.id, "REBOOTING");
  const well = offers.slice(2);
  await fleet.take(replica, well);
  const devices = well.map(([device]) => device);
  const missing = async () => {
    const page = { limit: 50 };
    const rows = await readDeviceUpdates(
      replica.database.pool,
      { rolloutId: id, states: [], missing: true },
      page,
    );
    return rows.map(({ deviceId }) => deviceId);
  };
  await pass(world, 7 * minute, [replica], () => fleet.beat(replica, devices));
  await until(replica, id, async () => expect(await missing()).toEqual([silent[1]?.[0].id]));
  await pass(world, 7 * minute, [replica], () => fleet.beat(replica, devices));
  expect(await missing()).toEqual([silent[1]?.[0].id]);
  await pass(world, 3 * minute, [replica], () => fleet.beat(replica, devices));
  await until(replica, id, async () => expect(await missing()).toHaveLength(2));
});
