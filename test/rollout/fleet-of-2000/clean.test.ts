import { expect, it } from "vitest";
import { Fleet, release, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  expectInvariants,
  fleetSize,
  install,
  openScene,
  soak,
  statesOf,
  sumOf,
  verify,
} from "./big-fleet.ts";

it("a good update reaches every device over four rings, and those that appear later", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const { id } = await run(replica, wanted(await release(world, "1.1.0")));

  let reached = 0;
  for (const [at, name] of ["canary", "early", "broad", "production"].entries()) {
    const offers = await fleet.offers(replica);
    const open = await until(replica, id, (rollout) => expect(ringOf(rollout, name).state).toBe("OPEN"));
    expect(open.rings.slice(at + 1).map(({ state }) => state)).toEqual(Array(3 - at).fill("WAITING"));
    expect(ringOf(open, name).counters).toMatchObject({ offered: offers.length, inProgress: offers.length });
    // The hash spreads the fleet: within six standard deviations of the ring's share, which the last one has exactly.
    const part = (open.rings[at]?.percentBasisPoints ?? 0) / 10_000;
    reached += offers.length;
    expect(Math.abs(reached - fleetSize * part)).toBeLessThanOrEqual(
      6 * Math.sqrt(fleetSize * part * (1 - part)),
    );

    await install(scene, offers);
    await verify(scene, offers);
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, name).counters).toMatchObject({ succeeded: offers.length, inProgress: 0 }),
    );
    await expectInvariants(world);
    await soak(scene, id, name);
    await until(replica, id, (rollout) => expect(ringOf(rollout, name).state).toBe("PASSED"));
    await until(replica, id, ({ revision }) =>
      expect(replica.engine.index.get(id)?.rollout.revision).toBe(revision),
    );
  }
  const completed = await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  expect(sumOf(completed, "offered")).toBe(fleetSize);
  expect(sumOf(completed, "succeeded")).toBe(fleetSize);
  expect(await statesOf(world, id)).toEqual({ "INSTALL SUCCEEDED": fleetSize });
  expect(new Set(fleet.devices.map(({ version }) => version))).toEqual(new Set(["1.1.0"]));
  expect(await fleet.offers(replica)).toEqual([]);

  const late = await Fleet.enrol(world, 20);
  const offers = await late.offers(replica);
  expect(offers).toHaveLength(20);
  await install(scene, offers);
  await verify(scene, offers);
  const joined = await until(replica, id, (rollout) =>
    expect(sumOf(rollout, "succeeded")).toBe(fleetSize + 20),
  );
  expect(joined.state).toBe("COMPLETED");
  await expectInvariants(world);
});
