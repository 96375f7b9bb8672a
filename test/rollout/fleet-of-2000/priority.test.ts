import { expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { release, run, until, wanted } from "../rollout-fixture.ts";
import {
  expectInvariants,
  fleetSize,
  install,
  oneRing,
  openScene,
  soak,
  sumOf,
  verify,
} from "./big-fleet.ts";

it("a device in several rollouts takes the one of the highest priority, then the newest, one after the other", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  // A quarter in the field, a quarter in the laboratory, and half of each in both.
  const groups = (at: number): string[] => [
    ...(at < 500 ? ["field"] : []),
    ...(at >= 250 && at < 750 ? ["laboratory"] : []),
  ];
  for (const group of ["field", "laboratory"]) {
    // The first states of devices are being written: one of the two may have to go again.
    await eventually(() =>
      world.database.adminPool.query(
        "UPDATE devices SET groups = groups || $2::text WHERE id = ANY ($1::uuid[])",
        [fleet.devices.filter((_, at) => groups(at).includes(group)).map(({ id }) => id), group],
      ),
    );
  }
  for (const { id } of fleet.devices) replica.directory.reload(id);
  const wide = await run(replica, wanted(await release(world, "1.3.0"), { rings: oneRing }));
  const narrow = async (version: string, group: string) =>
    await run(
      replica,
      wanted(await release(world, version), {
        rings: oneRing,
        targeting: { groups: [group] },
        policy: { pauseOnFailure: false, priority: 10 },
      }),
    );
  const field = await narrow("1.2.0", "field");
  const laboratory = await narrow("1.2.5", "laboratory");

  const position = new Map(fleet.devices.map(({ id }, at) => [id, at]));
  const first = await fleet.offers(replica);
  expect(first).toHaveLength(fleetSize);
  for (const [device, update] of first) {
    const its = groups(position.get(device.id) ?? 0);
    const expected = its.includes("laboratory") ? laboratory : its.includes("field") ? field : wide;
    expect(update.rolloutId).toBe(expected.id);
  }
  await expectInvariants(world);
  await install(scene, first);
  // As long as a device is at one update it is offered no other.
  expect(await fleet.offers(replica)).toEqual([]);
  await verify(scene, first);

  const second = await fleet.offers(replica);
  expect(new Set(second.map(([, { rolloutId }]) => rolloutId))).toEqual(new Set([wide.id]));
  expect(second).toHaveLength(750);
  await install(scene, second);
  await verify(scene, second);
  expect(await fleet.offers(replica)).toEqual([]);
  expect(new Set(fleet.devices.map(({ version }) => version))).toEqual(new Set(["1.3.0"]));
  for (const [{ id }, devices] of [
    [wide, fleetSize],
    [field, 250],
    [laboratory, 500],
  ] as const) {
    await until(replica, id, (rollout) => expect(sumOf(rollout, "succeeded")).toBe(devices));
    await soak(scene, id, "all");
    await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  }
  await expectInvariants(world);
});
