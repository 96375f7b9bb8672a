import { expect, it } from "vitest";
import { release, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  expectInvariants,
  fleetSize,
  install,
  oneRing,
  openScene,
  share,
  soak,
  statesOf,
  untilEnded,
  verify,
} from "./big-fleet.ts";

it("devices that come back on the old version after the reboot have failed; many of them stop the rollout", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const first = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
  const offers = await fleet.offers(replica);
  const few = share(offers, 4);
  const rest = offers.slice(few.length);
  await install(scene, rest);
  await verify(scene, rest);
  await fleet.take(replica, few, "1.0.0");
  await untilEnded(replica, few);
  await until(replica, first.id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ succeeded: rest.length, failed: few.length }),
  );
  expect(await replica.engine.catalog.listFailureReasons(first.id)).toEqual([
    { name: "DEVICE_REVERTED", count: few.length },
  ]);
  await soak(scene, first.id, "all");
  await until(replica, first.id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  // Who went back is not sent there again.
  expect(await fleet.offers(replica)).toEqual([]);
  await expectInvariants(world);

  const second = await run(replica, wanted(await release(world, "1.2.0"), { rings: oneRing }));
  const again = await fleet.offers(replica);
  expect(again).toHaveLength(fleetSize);
  const many = share(again, 30);
  const others = again.slice(many.length);
  await install(scene, others);
  await verify(scene, others);
  const cameFrom = new Map(again.map(([device, { fromVersion }]) => [device.id, fromVersion]));
  await Promise.all(
    ["1.0.0", "1.1.0"].map((version) =>
      fleet.take(
        replica,
        many.filter(([device]) => cameFrom.get(device.id) === version),
        version,
      ),
    ),
  );
  const rolling = await until(replica, second.id, (rollout) => expect(rollout.state).toBe("ROLLING_BACK"));
  expect(ringOf(rolling, "all").state).toBe("FAILED");
  await until(replica, second.id, (rollout) => expect(rollout.rollbackPlan).toBeUndefined());
  await until(replica, second.id, () => {
    for (const [device] of others) expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK");
  });
  // Some that went back by themselves are told to as well, if that was not known yet: the fleet goes on to ask and to beat.
  const over = await until(replica, second.id, async ({ state }) => {
    const back = await fleet.offers(replica);
    for (const [device, { toVersion }] of back) expect(toVersion).toBe(cameFrom.get(device.id));
    await fleet.take(replica, back);
    fleet.beat(replica);
    expect(state).toBe("ROLLED_BACK");
  });
  expect(over.rollback).toMatchObject({ completed: over.rollback.total, failed: 0 });
  // Nobody was told to go back who had done so already.
  const { rows } = await world.database.adminPool.query(
    `SELECT device_id FROM device_updates WHERE rollout_id = $1 AND failure_reason = 'DEVICE_REVERTED'
     INTERSECT SELECT device_id FROM device_updates WHERE rollout_id = $1 AND action = 'ROLLBACK'`,
    [second.id],
  );
  expect(rows).toEqual([]);
  expect(fleet.devices.filter(({ version }) => version === "1.2.0")).toEqual([]);
  const states = await statesOf(world, second.id);
  expect(states["INSTALL SUCCEEDED"]).toBe(others.length);
  await expectInvariants(world);
});
