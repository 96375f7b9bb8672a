import { expect, it } from "vitest";
import { OtaError } from "../../../src/errors.ts";
import { SeverableLine } from "../../support/severable-line.ts";
import {
  createWorld,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "../rollout-fixture.ts";
import {
  devicesOf,
  expectInvariants,
  fleetSize,
  gate,
  install,
  minute,
  openScene,
  statesOf,
  sumOf,
  type Taken,
  untilEnded,
  untilStates,
} from "./big-fleet.ts";

const rings = [
  { name: "canary", percent: 50, gate },
  { name: "all", percent: 100, gate },
];

it("replicas that die in the middle of reports and of a promotion lose no outcome and promote nothing twice", async () => {
  await using database = await createWorld();
  await using line = await SeverableLine.lay(database.url);
  await using scene = await openScene(() => Promise.resolve({ ...database, url: line.url }));
  const { world, replica: survivor, fleet } = scene;
  await using firstLine = await SeverableLine.lay(database.url);
  await using secondLine = await SeverableLine.lay(database.url);
  await using first = await startReplica({ ...world, url: firstLine.url });
  await using second = await startReplica({ ...world, url: secondLine.url });
  using mended = new DisposableStack();
  for (const line of [firstLine, secondLine]) mended.defer(() => line.mend());
  const { id } = await run(first, wanted(await release(world, "1.1.0"), { rings }));
  for (const replica of [second, survivor]) {
    await until(replica, id, () => expect(replica.engine.index.get(id)).toBeDefined());
  }

  // Half of the canaries are served by the first replica, half by the second.
  const here = await fleet.offers(first, fleet.devices.slice(0, fleetSize / 2));
  const there = await fleet.offers(second, fleet.devices.slice(fleetSize / 2));
  const canaries = [...here, ...there];
  await fleet.take(second, there);
  await untilStates(second, there, "VERIFYING");

  // The first dies while its devices report.
  const reports = Promise.allSettled(here.map((offer) => reportAll(offer)));
  const { length: begun } = await firstStored(here);
  firstLine.cut();
  const reported = await reports;
  const lost = reported.filter(({ status }) => status === "rejected");
  expect(begun).toBeGreaterThan(0);
  expect(lost.length).toBeGreaterThan(0);
  for (const each of lost) {
    const { reason } = each as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(OtaError);
    expect(reason).toMatchObject({ code: "unavailable" });
  }
  // Its devices come to another one and say again what they had said.
  await install({ ...scene, replica: second }, here);
  await expectInvariants(world);

  world.clock.advance(6 * minute);
  fleet.beat(second, devicesOf(canaries));
  await untilEnded(second, canaries);
  await until(survivor, id, (rollout) =>
    expect(ringOf(rollout, "canary").counters).toMatchObject({ succeeded: canaries.length, inProgress: 0 }),
  );
  await until(survivor, id, (rollout) => expect(ringOf(rollout, "canary").gateHeldSince).toBeDefined());
  // The second dies in the middle of the promotion: all of it is written, but for the record of it and the commit.
  line.hold();
  world.clock.advance(minute);
  await secondLine.cutBefore("rollout.promote");
  const { rows } = await database.database.adminPool.query(
    "SELECT name, state FROM deployment_rings WHERE rollout_id = $1 ORDER BY position",
    [id],
  );
  expect(rows).toEqual([
    { name: "canary", state: "OPEN" },
    { name: "all", state: "WAITING" },
  ]);
  line.mend();
  await until(survivor, id, (rollout) => expect(ringOf(rollout, "all").state).toBe("OPEN"));
  await until(survivor, id, () => expect(survivor.engine.index.get(id)?.rings[1]?.state).toBe("OPEN"));

  const rest = await fleet.offers(survivor);
  expect(rest).toHaveLength(fleetSize - canaries.length);
  await install(scene, rest);
  world.clock.advance(6 * minute);
  fleet.beat(survivor, devicesOf(rest));
  await untilEnded(survivor, rest);
  await until(survivor, id, (rollout) => expect(ringOf(rollout, "all").gateHeldSince).toBeDefined());
  world.clock.advance(minute);
  const completed = await until(survivor, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  expect(sumOf(completed, "succeeded")).toBe(fleetSize);
  await expectAllOnce();

  // Had they only been cut off, what they still know changes nothing.
  for (const line of [firstLine, secondLine]) line.mend();
  fleet.beat(first);
  fleet.beat(second);
  for (const replica of [first, second]) {
    await until(replica, id, () => {
      expect(replica.engine.index.get(id)?.rollout.state).toBe("COMPLETED");
      expect(replica.engine.tracker.size).toBe(0);
    });
  }
  await expectAllOnce();

  async function expectAllOnce(): Promise<void> {
    expect(await statesOf(world, id)).toEqual({ "INSTALL SUCCEEDED": fleetSize });
    const promotions = await survivor.audit.list({ resourceId: id, action: "rollout.promote" }, { limit: 9 });
    expect(promotions.map(({ details }) => details?.["ring"])).toEqual(["all"]);
    const ends = await survivor.audit.list({ resourceId: id, action: "rollout.complete" }, { limit: 9 });
    expect(ends).toHaveLength(1);
    await expectInvariants(world);
  }

  async function reportAll([device, update]: Taken): Promise<void> {
    for (const state of ["DOWNLOADING", "DOWNLOADED", "INSTALLING"] as const)
      await report(first, device.id, update.id, state);
  }

  /** Waits until one of them has got through to the database. */
  async function firstStored(offers: readonly Taken[]): Promise<unknown[]> {
    const ids = offers.map(([, update]) => update.id);
    for (;;) {
      const { rows } = await world.database.adminPool.query(
        "SELECT 1 FROM device_updates WHERE id = ANY ($1::uuid[]) AND state <> 'OFFERED' LIMIT 1",
        [ids],
      );
      if (rows.length > 0) return rows;
    }
  }
});
