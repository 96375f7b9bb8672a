import { expect, it } from "vitest";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { DedicatedPostgres } from "../support/postgres.ts";
import {
  expectExactCounters,
  Fleet,
  openWorld,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

it("an outage of the database loses no evidence, fails no device and refuses callers for the time being", async () => {
  await using server = await DedicatedPostgres.start();
  await migrateUp(server.url);
  await using world = await openWorld(server.url);
  await using replica = await startReplica(world);
  const fleet = await Fleet.enrol(world, 20);
  const gate = { minSample: 1, minSuccessPercent: 90, soakMs: 60_000, manual: true };
  const policy = { pauseOnFailure: false, deviceTimeoutMs: 10 * 60_000 };
  const rings = [{ name: "all", percent: 100, gate }];
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
  const offers = await fleet.offers(replica);
  await Promise.all(offers.map(([device, update]) => report(replica, device.id, update.id, "REBOOTING")));
  for (const device of fleet.devices) fleet.reboot(device, "1.1.0");

  await server.stop();
  const [[device, update] = []] = offers;
  if (device === undefined || update === undefined) throw new Error("no offers");
  await expect(report(replica, device.id, update.id, "FAILED", "X")).rejects.toMatchObject({
    code: "unavailable",
    reason: "DATABASE_UNAVAILABLE",
  });
  // Their heartbeats were stored just before; what they prove cannot be written now.
  fleet.beat(replica);
  // The deadlines pass while it is away.
  await replica.engine.tick();
  world.clock.advance(11 * 60_000);
  await replica.engine.tick();
  expect(replica.engine.tracker.size).toBe(20);

  await server.startAgain();
  await eventually(() => {
    for (const { id: deviceId } of fleet.devices) {
      expect(replica.engine.tracker.get(deviceId)?.state).toBe("VERIFYING");
    }
  });
  world.clock.advance(5 * 60_000);
  fleet.beat(replica);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ succeeded: 20, failed: 0 }),
  );
  await expectExactCounters(world);
}, 60_000);
