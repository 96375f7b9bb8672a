import { expect, it } from "vitest";
import { release, report, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  devicesOf,
  expectInvariants,
  fleetSize,
  install,
  minute,
  oneRing,
  openScene,
  share,
  soak,
  statesOf,
  type Taken,
  verify,
} from "./big-fleet.ts";

const retryBackoffMs = 10 * minute;

it("devices that fail try again, each later than the time before and not all at once", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const { tracker } = replica.engine;
  const policy = { pauseOnFailure: false, maxRetries: 2, retryBackoffMs };
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing, policy }));
  const failAll = (offers: readonly Taken[]) =>
    Promise.all(
      offers.map(([device, update]) => report(replica, device.id, update.id, "FAILED", "DOWNLOAD_FAILED")),
    );

  let failing = await fleet.offers(replica);
  let succeeded = 0;
  for (const [attempt, percent] of [20, 25, 10].entries()) {
    expect(new Set(failing.map(([, update]) => update.attempt))).toEqual(new Set([attempt + 1]));
    const well = failing.slice(share(failing, percent).length);
    failing = share(failing, percent);
    await failAll(failing);
    await install(scene, well);
    const failedAtMs = world.clock.now().getTime() - 5_000;
    succeeded += well.length;
    if (attempt === 2) {
      await verify(scene, well);
      break;
    }
    await until(replica, id, () => {
      for (const [device] of failing) expect(tracker.get(device.id)?.attempt).toBe(attempt + 2);
    });
    const { counters } = ringOf(await replica.engine.catalog.get(id), "all");
    expect(counters).toMatchObject({ offered: fleetSize, failed: 0 });
    const backoffMs = retryBackoffMs * 2 ** attempt;
    const dueMs = failing.map(([device]) => (tracker.get(device.id)?.notBeforeMs ?? 0) - failedAtMs);
    expect(Math.min(...dueMs)).toBeGreaterThanOrEqual(0.75 * backoffMs);
    expect(Math.max(...dueMs)).toBeLessThanOrEqual(1.25 * backoffMs);
    const fullest = Math.max(
      ...[...Map.groupBy(dueMs, (ms) => Math.floor(ms / minute)).values()].map(({ length }) => length),
    );
    expect(fullest).toBeLessThan(failing.length / 2);

    await verify(scene, well);
    // Before the first is due.
    world.clock.advance(failedAtMs + 0.75 * backoffMs - 1 - world.clock.now().getTime());
    expect(await fleet.offers(replica)).toEqual([]);
    world.clock.advance(0.25 * backoffMs);
    const some = await fleet.offers(replica, devicesOf(failing));
    expect(some.length).toBeGreaterThan(failing.length / 5);
    expect(some.length).toBeLessThan((failing.length * 4) / 5);
    world.clock.advance(0.25 * backoffMs + 1);
    failing = await fleet.offers(replica);
    expect(failing).toHaveLength(dueMs.length);
    await expectInvariants(world);
  }
  const counted = await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ inProgress: 0, succeeded }),
  );
  expect(ringOf(counted, "all").counters.failed).toBe(failing.length);
  expect(succeeded + failing.length).toBe(fleetSize);
  // The tries before are on record, but only the last one counts.
  expect(await statesOf(world, id)).toEqual({ "INSTALL SUCCEEDED": succeeded, "INSTALL FAILED": 400 });
  expect(await replica.engine.catalog.listFailureReasons(id)).toEqual([
    { name: "DOWNLOAD_FAILED", count: failing.length },
  ]);
  expect(await fleet.offers(replica)).toEqual([]);
  await soak(scene, id, "all");
  await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  await expectInvariants(world);
});
