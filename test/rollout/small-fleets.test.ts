import { describe, expect, it } from "vitest";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  minute,
  type Replica,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const policy = { pauseOnFailure: false, verificationMs: minute };

/** Devices that ask, take what they are offered and beat, until the rollout is over or an hour has passed. */
async function live(world: World, replica: Replica, fleet: Fleet, id: string): Promise<string> {
  for (let passed = 0; passed < 60; passed++) {
    const { state } = await replica.engine.catalog.get(id);
    if (state !== "RUNNING") return state;
    const offers = await fleet.offers(replica);
    await fleet.take(
      replica,
      offers.filter(([, { state: at }]) => at === "OFFERED"),
    );
    world.clock.advance(minute);
    fleet.beat(replica);
    await replica.engine.tick();
    await replica.engine.census();
    await replica.engine.tick();
  }
  return "RUNNING";
}

describe("rings of so many devices", () => {
  const rings = [
    { name: "canary", percent: 0, devices: 10 },
    { name: "early", percent: 25 },
    { name: "more", percent: 0, devices: 50 },
    { name: "all", percent: 100 },
  ].map((ring) => ({
    ...ring,
    gate: { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: false },
  }));

  it.each([120, 30, 7])("hold them in a fleet of %d, as the preview says, and end well", async (size) => {
    await using world = await createWorld();
    await using replica = await startReplica(world);
    const fleet = await Fleet.enrol(world, size);
    const created = await run(replica, wanted(await release(world, "1.1.0"), { policy, rings }));
    const { id } = created;
    const preview = await replica.engine.preview.ofRollout(id);
    const counted = await until(replica, id, async (it) => {
      await replica.engine.census();
      expect(ringOf(it, "canary").census?.devices).toBe(Math.min(10, size));
    });
    const sizes = counted.rings.map(({ census }) => census?.devices ?? 0);
    expect(preview.rings.map(({ census }) => census.devices)).toEqual(sizes);
    // By number to the device; how many a share holds is chance.
    expect((sizes[0] ?? 0) + (sizes[1] ?? 0) + (sizes[2] ?? 0)).toBe(Math.min(50, size));
    expect(sizes.reduce((sum, devices) => sum + devices, 0)).toBe(size);
    const ends = counted.rings.map(({ percentBasisPoints }) => percentBasisPoints);
    expect(ends).toEqual(ends.toSorted((a, b) => a - b));
    expect(await live(world, replica, fleet, id)).toBe("COMPLETED");
    const over = await replica.engine.catalog.get(id);
    expect(over.rings.map(({ counters }) => counters.succeeded)).toEqual(sizes);
    expect(over.rings.map(({ percentBasisPoints }) => percentBasisPoints)).toEqual(ends);
    const events = await replica.audit.list({ resourceId: id, action: "rollout.size_ring" }, { limit: 10 });
    expect(events.map(({ reason }) => reason).join()).toContain("ring canary is to hold 10 devices");
    await expectExactCounters(world);
  });
});

describe("with all defaults", () => {
  it.each([1, 2, 3, 10, 20, 60, 120])("a fleet of %d has a canary first and ends well", async (size) => {
    await using world = await createWorld();
    await using replica = await startReplica(world);
    const fleet = await Fleet.enrol(world, size);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { policy, rings: [] }));
    await replica.engine.census();
    const first = await until(replica, id, (it) =>
      expect(ringOf(it, "canary").census?.awaited).toBeGreaterThan(0),
    );
    expect(first.rings.slice(1).map(({ state }) => state)).toEqual(["WAITING", "WAITING", "WAITING"]);
    const sizes = first.rings.map(({ census }) => census?.devices ?? 0);
    expect(sizes.reduce((sum, devices) => sum + devices, 0)).toBe(size);
    expect(await live(world, replica, fleet, id)).toBe("COMPLETED");
    const over = await replica.engine.catalog.get(id);
    expect(over.rings.map(({ counters }) => counters.succeeded)).toEqual(sizes);
    expect(over.alert).toBe("");
    await expectExactCounters(world);
  });
});

it("a rollout whose first ring was widened is still the one that its rings were asked for", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  await Fleet.enrol(world, 2);
  const { catalog } = replica.engine;
  const firmwareId = await release(world, "1.1.0");
  const plan = (percent: number) =>
    wanted(firmwareId, {
      rings: [
        { name: "canary", percent },
        { name: "all", percent: 100 },
      ],
    });
  const { id } = await catalog.deploy(plan(0.01), undefined, { actor });
  await replica.engine.census();
  await until(replica, id, (it) => expect(ringOf(it, "canary").percentBasisPoints).toBeGreaterThan(1));
  expect(await catalog.deploy(plan(0.01), undefined, { actor })).toMatchObject({
    id,
    effect: { unchanged: true },
  });
  await expect(catalog.deploy(plan(0.02), undefined, { actor })).rejects.toMatchObject({
    reason: "ROLLOUT_DIFFERS",
    metadata: { fields: "rings[0].percent" },
  });
});

it("a rollout that is for no device says so, and goes on by a canary once there are some", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { policy, rings: [] }));
  await replica.engine.census();
  await until(replica, id, (it) => expect(it.alert).toContain("no device is one that it is for"));
  const fleet = await Fleet.enrol(world, 3);
  world.clock.advance(minute);
  expect(await live(world, replica, fleet, id)).toBe("COMPLETED");
  expect((await replica.engine.catalog.get(id)).alert).toBe("");
});

it("neither retired, excluded nor up-to-date devices are waited for", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  const fleet = await Fleet.enrol(world, 30, "1.1.0");
  fleet.beat(replica);
  await replica.states.flush();
  const late = await Fleet.enrol(world, 4);
  const ids = late.devices.map((device) => device.id);
  const { adminPool } = world.database;
  await adminPool.query("UPDATE devices SET is_deleted = true WHERE id = ANY ($1)", [ids.slice(0, 2)]);
  await adminPool.query("UPDATE devices SET update_pin = 'excluded' WHERE id = ANY ($1)", [ids.slice(2)]);
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { policy, rings: [] }));
  await replica.engine.census();
  const over = await until(replica, id, (it) => expect(it.state).toBe("COMPLETED"));
  expect(over.stateReason).toBe("ring production: no device is in it that waits for it");
  const widths = over.rings.map(({ percentBasisPoints }) => percentBasisPoints);
  expect(widths).toEqual([500, 2_500, 7_500, 10_000]);
});

it("the only device of a fleet that fails stops the rollout, which says so", async () => {
  await using world = await createWorld();
  await using replica = await startReplica(world);
  const fleet = await Fleet.enrol(world, 1);
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { policy, rings: [] }));
  await replica.engine.census();
  const [[device, update] = []] = await fleet.offers(replica);
  await report(replica, device?.id ?? "", update?.id ?? "", "FAILED", "BAD");
  world.clock.advance(minute);
  await replica.engine.census();
  const paused = await until(replica, id, (it) => expect(it.state).toBe("PAUSED"));
  expect(paused.stateReason).toContain("a person has to look");
  await replica.engine.catalog.resume({ id, actor, reason: "it was the cable" });
  await until(replica, id, (it) => expect(it.alert).toContain("it cannot go on by itself"));
});
