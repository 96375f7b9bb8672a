import { expect, it } from "vitest";
import { actor, release, run, until, wanted } from "../rollout-fixture.ts";
import {
  devicesOf,
  expectInvariants,
  fleetSize,
  install,
  oneRing,
  openScene,
  share,
  untilEnded,
  verify,
} from "./big-fleet.ts";

it("a rollback leaves alone whom the security counter forbids to go back, and raises the alert", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const { catalog, tracker } = replica.engine;
  const firmwareId = await release(world, "1.1.0", { securityCounter: 2 });
  const { id } = await run(replica, wanted(firmwareId, { rings: oneRing }));
  const offers = await fleet.offers(replica);
  const fused = share(offers, 35);
  await install(scene, offers);
  for (const [device] of fused) device.securityCounter = 2;
  await verify(scene, offers);
  await until(replica, id, async () => {
    const { rows } = await world.database.adminPool.query(
      "SELECT count(*)::int AS devices FROM device_state WHERE security_counter = 2",
    );
    expect(rows).toEqual([{ devices: fused.length }]);
  });

  await catalog.rollback({ id, actor, reason: "smells odd" });
  const under = await until(replica, id, (rollout) => expect(rollout.rollbackPlan).toBeUndefined());
  expect(under).toMatchObject({
    state: "ROLLING_BACK",
    alert: `not rolled back: ${fused.length} devices that must not be, as their updates say`,
    rollback: {
      total: fleetSize,
      completed: 0,
      failed: fused.length,
      blocked: fused.length,
      unreleased: 0,
      away: 0,
      waiting: 0,
    },
  });
  const free = offers.slice(fused.length);
  await until(replica, id, () => {
    for (const [device] of free) expect(tracker.get(device.id)?.action).toBe("ROLLBACK");
  });
  const back = await fleet.offers(replica);
  expect(new Set(devicesOf(back))).toEqual(new Set(devicesOf(free)));
  await fleet.take(replica, back);
  await untilEnded(replica, back);
  const over = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
  expect(over.rollback).toEqual({
    total: fleetSize,
    completed: free.length,
    failed: fused.length,
    blocked: fused.length,
    unreleased: 0,
    away: 0,
    waiting: 0,
  });
  expect(over.alert).toBe(under.alert);
  const [event] = await replica.audit.list(
    { resourceId: id, action: "rollout.rollback_blocked" },
    { limit: 1 },
  );
  expect(event?.actor).toBe("system:rollback");
  const { rows } = await world.database.adminPool.query(
    `SELECT failure_reason AS reason, count(*)::int AS devices FROM device_updates
     WHERE action = 'ROLLBACK' AND state = 'FAILED' GROUP BY 1`,
  );
  expect(rows).toEqual([{ reason: "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER", devices: fused.length }]);
  expect(devicesOf(fused).every(({ version }) => version === "1.1.0")).toBe(true);
  await expectInvariants(world);
});
