import { expect, it } from "vitest";
import {
  actor,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  release,
  report,
  run,
  until,
  wanted,
} from "./rollout-fixture.ts";

const rings = [{ name: "all", percent: 100, gate: { minSample: 1, minSuccessPercent: 0, manual: true } }];

it("a device that cannot go back keeps the further try that a newer rollout has for it", async () => {
  await using opened = await openReplica();
  const { world, replica, catalog } = opened;
  const fleet = await Fleet.enrol(world, 2);
  const [stayed, left] = fleet.devices;
  if (stayed === undefined || left === undefined) throw new Error("no devices");
  fleet.beat(replica);
  await replica.states.flush();
  const policy = { pauseOnFailure: false, maxRetries: 1, retryBackoffMs: minute };
  const older = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
  const [, failing] = (await fleet.offers(replica, [stayed]))[0] ?? [];
  for (const state of ["INSTALLING", "FAILED"] as const)
    await report(replica, stayed.id, failing?.id ?? "", state, "INSTALL_FAILED");
  await fleet.take(replica, await fleet.offers(replica, [left]));
  await until(replica, older.id, () => expect(replica.engine.tracker.get(left.id)?.state).toBe("VERIFYING"));
  world.clock.advance(6 * minute);
  fleet.beat(replica);
  await until(replica, older.id, () => expect(replica.engine.tracker.size).toBe(0));
  const newer = await run(replica, wanted(await release(world, "1.2.0"), { rings, policy }));
  for (const [device, update] of await fleet.offers(replica))
    await report(replica, device.id, update.id, "FAILED", "NO_ROOM");

  const { rollback } = await catalog.rollback({ id: older.id, actor, reason: "odd noises" });
  expect(rollback).toMatchObject({ total: 1, failed: 1, blocked: 1, waiting: 0 });
  world.clock.advance(2 * minute);
  await replica.engine.tick();
  const again = await fleet.offers(replica);
  expect(again.map(([, { rolloutId, attempt }]) => [rolloutId, attempt])).toEqual([
    [newer.id, 2],
    [newer.id, 2],
  ]);
  await expectExactCounters(world);
});

it("a device that is to go back first is told so, by checks and explanations alike", async () => {
  await using opened = await openReplica();
  const { world, replica } = opened;
  const fleet = await Fleet.enrol(world, 1);
  const [device] = fleet.devices;
  if (device === undefined) throw new Error("no device");
  fleet.beat(replica);
  const older = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
  const [, update] = (await fleet.offers(replica))[0] ?? [];
  await report(replica, device.id, update?.id ?? "", "FAILED", "NO_ROOM");
  const newer = await run(replica, wanted(await release(world, "1.2.0"), { rings }));
  // As between the end of what it waited for and the moment in which it is told.
  await world.database.adminPool.query(
    "UPDATE device_updates SET take_back_by = now() + interval '1 day' WHERE rollout_id = $1",
    [older.id],
  );
  const { reason, message } = await replica.engine.explainer.explain(newer.id, device.id);
  expect([reason, message]).toEqual([
    "UPDATE_IN_PROGRESS",
    `The device is at the update of rollout ${older.id}.`,
  ]);
  expect(await fleet.check(replica, device)).toMatchObject({ kind: "none", reason });
});
