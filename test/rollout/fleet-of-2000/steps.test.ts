import { expect, it } from "vitest";
import { release, report, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import { expectInvariants, fleetSize, oneRing, openScene, soak, untilEnded } from "./big-fleet.ts";

/** What devices run, in turn, and how each of them has to go from there. */
const paths: Readonly<Record<string, readonly string[]>> = {
  "1.0.0": ["STEP 1.1.0", "STEP 1.2.0", "INSTALL 1.3.0"],
  "1.1.0": ["STEP 1.2.0", "INSTALL 1.3.0"],
  "1.1.5": ["STEP 1.2.0", "INSTALL 1.3.0"],
  "1.2.0": ["INSTALL 1.3.0"],
};
const versions = Object.keys(paths);

it("every device takes the mandatory steps above its own version, in order", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  for (const version of ["1.1.0", "1.1.5", "1.2.0"]) await release(world, version);
  await world.database.adminPool.query(
    "UPDATE firmware_updates SET mandatory_step = true WHERE version IN ('1.1.0', '1.2.0')",
  );
  for (const [at, device] of fleet.devices.entries()) device.version = versions[at % versions.length] ?? "";
  fleet.beat(replica);
  const came = new Map(fleet.devices.map(({ id, version }) => [id, version]));
  const policy = { pauseOnFailure: false, verificationMs: 0 };
  const { id } = await run(replica, wanted(await release(world, "1.3.0"), { rings: oneRing, policy }));

  const taken = new Map<string, string[]>(fleet.devices.map((device) => [device.id, []]));
  // Some of those that have the longest way fail at its first step; no version is skipped for them.
  const stuck = new Set(fleet.devices.filter(({ version }) => version === "1.0.0").slice(0, 20));
  for (let round = 0; round < 3; round++) {
    const offers = await fleet.offers(replica);
    for (const [device, { action, toVersion }] of offers) {
      taken.get(device.id)?.push(`${action} ${toVersion}`);
    }
    const well = offers.filter(([device]) => !stuck.has(device));
    await fleet.take(replica, well);
    await untilEnded(replica, well);
    const failing = offers.filter(([device]) => stuck.has(device));
    await Promise.all(
      failing.map(([device, update]) => report(replica, device.id, update.id, "FAILED", "INSTALL_FAILED")),
    );
    await untilEnded(replica, offers);
    await expectInvariants(world);
  }
  expect(await fleet.offers(replica)).toEqual([]);
  for (const device of fleet.devices) {
    const path = paths[came.get(device.id) ?? ""] ?? [];
    expect(taken.get(device.id)).toEqual(stuck.has(device) ? path.slice(0, 1) : path);
    expect(device.version).toBe(stuck.has(device) ? "1.0.0" : "1.3.0");
  }
  const { counters } = ringOf(await replica.engine.catalog.get(id), "all");
  expect(counters).toMatchObject({
    offered: fleetSize,
    inProgress: 0,
    succeeded: fleetSize - stuck.size,
    failed: stuck.size,
  });
  await soak(scene, id, "all");
  await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
});
