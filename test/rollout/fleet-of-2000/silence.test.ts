import { expect, it } from "vitest";
import { migrateUp } from "../../../src/infra/database/migrate.ts";
import { DedicatedPostgres } from "../../support/postgres.ts";
import { openWorld, release, report, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  day,
  devicesOf,
  expectInvariants,
  fleetSize,
  hour,
  install,
  minute,
  oneRing,
  openScene,
  share,
  soak,
  statesOf,
  untilStates,
  verify,
} from "./big-fleet.ts";

it("devices that go silent have failed at the deadline, and not before", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
  const offeredAtMs = world.clock.now().getTime();
  const offers = await fleet.offers(replica);
  expect(offers).toHaveLength(fleetSize);
  const silent = share(offers, 5);
  // Some never say anything after the offer, some not after they rebooted.
  const gone = silent.slice(40);
  await Promise.all(gone.map(([device, update]) => report(replica, device.id, update.id, "REBOOTING")));
  const rest = offers.slice(silent.length);
  await install(scene, rest);
  await verify(scene, rest);
  await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(rest.length));

  world.clock.advance(offeredAtMs + day - 1_000 - world.clock.now().getTime());
  await replica.engine.tick();
  expect(replica.engine.tracker.size).toBe(silent.length);
  expect(ringOf(await replica.engine.catalog.get(id), "all").counters.failed).toBe(0);

  world.clock.advance(1_001);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ failed: silent.length, inProgress: 0 }),
  );
  expect(await statesOf(world, id)).toEqual({
    "INSTALL SUCCEEDED": rest.length,
    "INSTALL TIMED_OUT": silent.length,
  });
  expect(await replica.engine.catalog.listFailureReasons(id)).toEqual([
    { name: "SILENT", count: silent.length },
  ]);
  await soak(scene, id, "all");
  await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  // One that comes back after all runs the new version; what it was judged by stays.
  for (const [device] of gone) fleet.reboot(device, "1.1.0");
  fleet.beat(replica, devicesOf(gone));
  expect(await fleet.offers(replica, devicesOf(gone))).toEqual([]);
  expect((await statesOf(world, id))["INSTALL TIMED_OUT"]).toBe(silent.length);
  await expectInvariants(world);
});

it("the time for which our own database is away is not held against any device", async () => {
  await using server = await DedicatedPostgres.start();
  await migrateUp(server.url);
  await using scene = await openScene(() => openWorld(server.url));
  const { world, replica, fleet } = scene;
  const policy = { pauseOnFailure: false, deviceTimeoutMs: 30 * minute };
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing, policy }));
  const offers = await fleet.offers(replica);
  await Promise.all(offers.map(([device, update]) => report(replica, device.id, update.id, "REBOOTING")));
  await untilStates(replica, offers, "REBOOTING");
  const silent = share(offers, 5);
  const rest = offers.slice(silent.length);

  await server.stop();
  // An hour: twice the time that the devices have.
  for (let passed = 0; passed < hour; passed += minute / 2) {
    await replica.engine.tick();
    world.clock.advance(minute / 2);
  }
  expect(replica.engine.tracker.size).toBe(fleetSize);
  await server.startAgain();
  for (const [device] of rest) fleet.reboot(device, "1.1.0");
  fleet.beat(replica, devicesOf(rest));
  await untilStates(replica, rest, "VERIFYING");
  await verify(scene, rest);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ succeeded: rest.length, failed: 0 }),
  );
  // Who is silent when the outage is over and its time added is silent by its own doing.
  world.clock.advance(30 * minute);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ failed: silent.length, inProgress: 0 }),
  );
  await expectInvariants(world);
});
