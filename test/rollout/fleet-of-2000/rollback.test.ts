import { expect, it } from "vitest";
import { actor, release, report, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  day,
  devicesOf,
  expectInvariants,
  install,
  oneRing,
  openScene,
  share,
  statesOf,
  untilEnded,
  untilStates,
  verify,
} from "./big-fleet.ts";

it("a bad update is rolled back at the canaries, from each of them to the end, and is never offered again", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const bad = await release(world, "1.1.0");
  const { id } = await run(replica, wanted(bad));
  const offers = await fleet.offers(replica);
  const late = offers.slice(0, 5);
  const taken = offers.slice(5);
  const ill = share(taken, 30);
  const well = taken.slice(ill.length);
  await Promise.all(late.map(([device, update]) => report(replica, device.id, update.id, "DOWNLOADING")));
  await install(scene, taken);
  await verify(scene, well);
  for (let crash = 0; crash < 3; crash++) {
    for (const [device] of ill) fleet.reboot(device);
    fleet.beat(replica, devicesOf(ill));
  }

  const rolling = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLING_BACK"));
  expect(rolling.stateReason).toMatch(
    /ring canary: of \d+ devices that began, \d+ failed .*the threshold is 10 %/,
  );
  expect(rolling.rings.map(({ state }) => state)).toEqual(["FAILED", "WAITING", "WAITING", "WAITING"]);
  expect(replica.rolledBackByRule.count).toBe(1);
  const under = await until(replica, id, (rollout) => expect(rollout.rollbackPlan).toBeUndefined());
  // Nobody but who had begun to install has anything to go back from.
  expect(under.rollback).toEqual({
    total: taken.length,
    completed: 0,
    failed: 0,
    blocked: 0,
    unreleased: 0,
    away: 0,
    waiting: 0,
  });
  expect(ringOf(under, "canary").counters).toMatchObject({ inProgress: 0, cancelled: late.length });
  await expectInvariants(world);

  await until(replica, id, () => {
    for (const [device] of taken) expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK");
  });
  const back = await fleet.offers(replica);
  expect(new Set(devicesOf(back))).toEqual(new Set(devicesOf(taken)));
  expect(new Set(back.map(([, { action, toVersion }]) => `${action} ${toVersion}`))).toEqual(
    new Set(["ROLLBACK 1.0.0"]),
  );
  const [lost, ...rest] = back;
  if (lost === undefined) throw new Error("nobody goes back");
  await fleet.take(replica, rest);
  await untilEnded(replica, rest);
  const waiting = await until(replica, id, (rollout) => expect(rollout.rollback.completed).toBe(rest.length));
  expect(waiting.state).toBe("ROLLING_BACK");
  // The last of them is never heard from again.
  world.clock.advance(day + 1);
  const over = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
  expect(over.rollback).toEqual({
    total: taken.length,
    completed: rest.length,
    failed: 1,
    blocked: 0,
    unreleased: 0,
    away: 1,
    waiting: 0,
  });
  expect(over.stateReason).toBe(rolling.stateReason);
  await expectInvariants(world);

  const others = fleet.devices.filter((device) => device !== lost[0]);
  expect(new Set(others.map(({ version }) => version))).toEqual(new Set(["1.0.0"]));
  expect(await fleet.offers(replica, others)).toEqual([]);
  // Not even by way of another rollout that is rolled back.
  const next = await run(replica, wanted(await release(world, "1.2.0"), { rings: oneRing }));
  const better = await fleet.offers(replica, share(others, 10));
  expect(new Set(better.map(([, { toVersion }]) => toVersion))).toEqual(new Set(["1.2.0"]));
  await install(scene, better);
  const call = { id: next.id, actor, reason: "changed our mind" };
  await expect(replica.engine.catalog.rollback({ ...call, firmwareId: bad })).rejects.toMatchObject({
    reason: "ROLLBACK_TARGET_REFUSED",
  });
  await replica.engine.catalog.rollback(call);
  await untilStates(replica, better, "OFFERED");
  const home = await fleet.offers(replica, devicesOf(better));
  expect(new Set(home.map(([, { toVersion }]) => toVersion))).toEqual(new Set(["1.0.0"]));
  const { "INSTALL SUCCEEDED": stillGood = 0 } = await statesOf(world, id);
  expect(stillGood).toBe(well.length);
  const { rows } = await world.database.adminPool.query(
    "SELECT count(DISTINCT device_id)::int AS devices FROM device_updates WHERE to_version = '1.1.0'",
  );
  expect(rows).toEqual([{ devices: offers.length }]);
  await expectInvariants(world);
});
