import { describe, expect, it } from "vitest";
import { ringIndex } from "../../../src/rollout/model/ring-place.ts";
import { release, report, ringOf, run, type SimulatedDevice, until, wanted } from "../rollout-fixture.ts";
import {
  day,
  devicesOf,
  expectInvariants,
  fleetSize,
  gate,
  hour,
  install,
  openScene,
  type Scene,
  share,
  soak,
  statesOf,
  sumOf,
  type Taken,
  verify,
} from "./big-fleet.ts";

const ringNames = ["canary", "all"];
const rings = ringNames.map((name, at) => ({
  name,
  percent: [25, 100][at] ?? 0,
  gate: { ...gate, minSample: 20 },
}));

describe("one device in twenty lies", () => {
  it("says FAILED without a reason: the rollout reaches all others", async () => {
    await using scene = await openScene();
    const { world, replica } = scene;
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
    const liars = liarsOf(scene, id);
    for (const name of ringNames) {
      const [honest, lying] = await offersTo(scene, liars, id, name);
      await install(scene, honest);
      await verify(scene, honest);
      await fail(scene, lying);
      await soak(scene, id, name);
      await until(replica, id, (rollout) => expect(ringOf(rollout, name).state).toBe("PASSED"));
    }
    const completed = await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
    expect(sumOf(completed, "failed")).toBe(liars.size);
    expect(replica.rolledBackByRule.count).toBe(0);
    await expectInvariants(world);
  });

  it("and is the first to speak, before anyone else can have succeeded: the rollout reaches all others", async () => {
    await using scene = await openScene();
    const { world, replica } = scene;
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
    const liars = liarsOf(scene, id);
    for (const name of ringNames) {
      const [honest, lying] = await offersTo(scene, liars, id, name);
      await fail(scene, lying);
      await until(replica, id, (rollout) => expect(ringOf(rollout, name).counters.failed).toBe(lying.length));
      await replica.engine.tick();
      await install(scene, honest);
      await verify(scene, honest);
      await soak(scene, id, name);
      await until(replica, id, (rollout) => expect(ringOf(rollout, name).state).toBe("PASSED"));
    }
    const completed = await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
    expect(sumOf(completed, "succeeded")).toBe(fleetSize - liars.size);
    expect(replica.rolledBackByRule.count).toBe(0);
    await expectInvariants(world);
  });

  it("claims success without a heartbeat that shows it: nothing is promoted", async () => {
    await using scene = await openScene();
    const { world, replica } = scene;
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
    const liars = liarsOf(scene, id);
    const [, lying] = await offersTo(scene, liars, id, "canary");
    for (const [device, update] of lying) await report(replica, device.id, update.id, "REBOOTING");
    world.clock.advance(hour);
    // They go on to beat, on the version that they really run, in the boot that they have been in all the time.
    scene.fleet.beat(replica, devicesOf(lying));
    await replica.engine.tick();
    const { counters, gateHeldSince } = ringOf(await replica.engine.catalog.get(id), "canary");
    expect(counters).toMatchObject({ succeeded: 0, failed: 0 });
    expect(gateHeldSince).toBeUndefined();
    world.clock.advance(day);
    scene.fleet.beat(replica, devicesOf(lying));
    await until(replica, id, (rollout) => expect(ringOf(rollout, "canary").counters.inProgress).toBe(0));
    expect((await statesOf(world, id))["INSTALL SUCCEEDED"]).toBeUndefined();
    expect(ringOf(await replica.engine.catalog.get(id), "all").state).toBe("WAITING");
    await expectInvariants(world);
  });

  it("makes up heartbeats of the new version, all with one key: nothing is promoted by them alone", async () => {
    await using scene = await openScene();
    const { world, replica, fleet } = scene;
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
    const liars = liarsOf(scene, id);
    const foulKey = await fleet.enrolledWithOneKey([...liars]);
    const [honest, lying] = await offersTo(scene, liars, id, "canary");
    expect(lying.length).toBeGreaterThanOrEqual(20);
    await install(scene, lying);
    await verify(scene, lying);
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "canary").counters.succeeded).toBe(lying.length),
    );
    world.clock.advance(hour);
    await replica.engine.tick();
    const waiting = await replica.engine.catalog.get(id);
    expect(ringOf(waiting, "canary").gateHeldSince).toBeUndefined();
    expect(ringOf(waiting, "all").state).toBe("WAITING");
    expect(ringOf(waiting, "canary").keys.map(({ keyId }) => keyId)).toEqual([foulKey]);
    // What the others show does it.
    const enough = honest.slice(0, 20);
    await install(scene, enough);
    await verify(scene, enough);
    await soak(scene, id, "canary");
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").state).toBe("OPEN"));
    await expectInvariants(world);
  });
});

/** One in twenty of each ring. */
function liarsOf({ replica, fleet }: Scene, rolloutId: string): Set<SimulatedDevice> {
  const compiled = replica.engine.index.get(rolloutId);
  if (compiled === undefined) throw new Error("the rollout is not known");
  const byRing = Map.groupBy(fleet.devices, ({ id }) =>
    ringIndex(compiled, { id, groups: [], updatePin: "none" }),
  );
  return new Set([...byRing.values()].flatMap((devices) => share(devices, 5)));
}

/** The offers of a ring that is open: to honest devices, and to liars. */
async function offersTo(
  { replica, fleet }: Scene,
  liars: ReadonlySet<SimulatedDevice>,
  rolloutId: string,
  ring: string,
): Promise<[Taken[], Taken[]]> {
  await until(replica, rolloutId, () => {
    const known = replica.engine.index.get(rolloutId)?.rings.find(({ name }) => name === ring);
    expect(known?.state).toBe("OPEN");
  });
  const offers = await fleet.offers(replica);
  return [offers.filter(([device]) => !liars.has(device)), offers.filter(([device]) => liars.has(device))];
}

async function fail({ replica }: Scene, offers: readonly Taken[]): Promise<void> {
  await Promise.all(
    offers.map(([device, update]) => report(replica, device.id, update.id, "FAILED", "MADE_UP")),
  );
}
