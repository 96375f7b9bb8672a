import { describe, expect, it } from "vitest";
import type { NewRollout } from "../../src/rollout/model/new-rollout.ts";
import { eventually } from "../support/eventually.ts";
import type { FakeClock } from "../support/fake-clock.ts";
import { pass } from "./passing-time.ts";
import {
  createWorld,
  Fleet,
  minute,
  type Replica,
  release,
  ringOf,
  run,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const hour = 60 * minute;
const day = 24 * hour;
const verificationMs = 2 * minute;
const soakMs = 2 * minute;

/** Canaries are all of the fleet's devices. */
const rings: NewRollout["rings"] = [
  { name: "canary", percent: 99, gate: { minSample: 1, minSuccessPercent: 90, soakMs } },
  { name: "early", percent: 100 },
];

/** What happens to the clock that all replicas share, and to those who read it. */
const happenings: [string, (clock: FakeClock) => void][] = [
  ["the clock is set forward by a day", (clock) => step(clock, day)],
  ["the clock is set back by an hour", (clock) => step(clock, -hour)],
  ["the machine sleeps for a day", (clock) => clock.sleep(day)],
  ["the service is stopped for 30 s", (clock) => clock.stall(30_000)],
  ["the database says nothing for 10 minutes", (clock) => clock.stall(10 * minute)],
];

function step(clock: FakeClock, ms: number): void {
  clock.setWallClock(new Date(clock.now().getTime() + ms));
}

/** A rollout whose canaries have all just rebooted into the new version; both replicas are needed to hear them. */
async function proven(world: World, replicas: readonly [Replica, Replica]) {
  const [one, two] = replicas;
  const fleet = await Fleet.enrol(world, 8);
  await release(world, "1.0.0");
  const policy = { pauseOnFailure: false, verificationMs, deviceTimeoutMs: hour };
  const { id } = await run(one, wanted(await release(world, "1.1.0"), { rings, policy }));
  const offers = await fleet.offers(one);
  const devices = offers.map(([device]) => device);
  await fleet.take(one, offers);
  await until(one, id, () => expect(states(one, devices)).toEqual(devices.map(() => "VERIFYING")));
  await until(two, id, () => expect(states(two, devices)).toEqual(devices.map(() => "VERIFYING")));
  const half = Math.ceil(devices.length / 2);
  const beat = (): void => {
    fleet.beat(one, devices.slice(0, half));
    fleet.beat(two, devices.slice(half));
  };
  const live = (ms: number, by: readonly Replica[] = replicas) => pass(world, ms, by, beat);
  return { id, devices, live, beat, fleet };
}

function states({ engine }: Replica, devices: readonly { id: string }[]) {
  return devices.map((device) => engine.tracker.get(device.id)?.state);
}

describe.each(happenings)("when %s", (_, happen) => {
  it("no watch over a device is shortened, none fails, and no gate is passed early", async () => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using two = await startReplica(world);
    const { id, devices, live } = await proven(world, [one, two]);
    await live(minute);
    happen(world.clock);
    await live(verificationMs - minute - 5_000);
    expect(states(one, devices)).toEqual(devices.map(() => "VERIFYING"));
    await live(15_000);
    const counted = { succeeded: devices.length, failed: 0, missing: 0 };
    await until(one, id, (it) => expect(ringOf(it, "canary").counters).toMatchObject(counted));

    await until(one, id, (it) => expect(ringOf(it, "canary").gateHeldSince).toBeDefined());
    await live(minute);
    happen(world.clock);
    await live(soakMs - minute - 15_000);
    const rollout = await one.engine.catalog.get(id);
    expect([rollout.state, ringOf(rollout, "canary").state]).toEqual(["RUNNING", "OPEN"]);
    await live(30_000);
    await until(two, id, (it) => expect(ringOf(it, "canary").state).toBe("PASSED"));
    expect(one.rolledBackByRule.count + two.rolledBackByRule.count).toBe(0);
  });
});

it.each(happenings.slice(0, 2))(
  "when %s, a device that is silent is missed no earlier and, once all have been heard again, no later than else",
  async (_, happen) => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using two = await startReplica(world);
    const { id, devices, fleet } = await proven(world, [one, two]);
    const [silent, ...others] = devices;
    const live = (ms: number) => pass(world, ms, [one, two], () => fleet.beat(two, others));
    await live(4 * minute);
    happen(world.clock);
    await live(50_000);
    const missing = async () => ringOf(await one.engine.catalog.get(id), "canary").counters.missing;
    expect(await missing()).toBe(0);
    // The grace of four minutes after a gap, and those seconds.
    await live(4 * minute);
    await until(one, id, (it) => expect(ringOf(it, "canary").counters.missing).toBe(1));
    fleet.beat(two, silent === undefined ? [] : [silent]);
    await until(one, id, (it) => expect(ringOf(it, "canary").counters.missing).toBe(0));
  },
);

it("a restart, and the time in which the service did not run, shorten neither the watch nor the soak", async () => {
  await using world = await createWorld();
  let id = "";
  let scene: Awaited<ReturnType<typeof proven>> | undefined;
  const restarted = async (work: (replica: Replica) => Promise<unknown>): Promise<void> => {
    world.clock.stall(3 * hour);
    await using replica = await startReplica(world);
    await work(replica);
    await allHeard(world);
  };
  {
    await using one = await startReplica(world);
    await using two = await startReplica(world);
    scene = await proven(world, [one, two]);
    ({ id } = scene);
    await scene.live(minute);
    await allHeard(world);
  }
  const { devices, fleet } = scene;
  const live = (replica: Replica, ms: number) =>
    pass(world, ms, [replica], () => fleet.beat(replica, devices));
  await restarted(async (replica) => {
    await live(replica, verificationMs - minute - 5_000);
    expect(states(replica, devices)).toEqual(devices.map(() => "VERIFYING"));
    await live(replica, 15_000);
    await until(replica, id, (it) => expect(ringOf(it, "canary").gateHeldSince).toBeDefined());
    await live(replica, minute);
  });
  await restarted(async (replica) => {
    await live(replica, soakMs - minute - 15_000);
    expect(ringOf(await replica.engine.catalog.get(id), "canary").state).toBe("OPEN");
    await live(replica, 30_000);
    const rollout = await until(replica, id, (it) => expect(ringOf(it, "canary").state).toBe("PASSED"));
    expect(ringOf(rollout, "canary").counters).toMatchObject({ succeeded: devices.length, failed: 0 });
  });
});

it.each(happenings.slice(0, 2))(
  "when %s during a watch or a soak, replicas that all start afterwards shorten neither",
  async (_, happen) => {
    await using world = await createWorld();
    let scene: Awaited<ReturnType<typeof proven>> | undefined;
    {
      await using one = await startReplica(world);
      await using two = await startReplica(world);
      scene = await proven(world, [one, two]);
      await scene.live(minute);
      happen(world.clock);
      await scene.live(10_000);
      await allHeard(world);
    }
    const { id, devices, fleet } = scene;
    const live = (replica: Replica, ms: number) =>
      pass(world, ms, [replica], () => fleet.beat(replica, devices));
    {
      await using replica = await startReplica(world);
      await live(replica, verificationMs - minute - 15_000);
      expect(states(replica, devices)).toEqual(devices.map(() => "VERIFYING"));
      await live(replica, 15_000);
      await until(replica, id, (it) => expect(ringOf(it, "canary").gateHeldSince).toBeDefined());
      await live(replica, minute);
      happen(world.clock);
      await live(replica, 10_000);
      await allHeard(world);
    }
    await using replica = await startReplica(world);
    await live(replica, soakMs - minute - 25_000);
    expect(ringOf(await replica.engine.catalog.get(id), "canary").state).toBe("OPEN");
    await live(replica, 40_000);
    await until(replica, id, (it) => expect(ringOf(it, "canary").state).toBe("PASSED"));
  },
);

/** What was heard is known to whoever starts next. */
async function allHeard({ database, clock }: World): Promise<void> {
  await eventually(async () => {
    const { rows } = await database.adminPool.query(
      "SELECT count(*)::int AS heard FROM device_state WHERE last_seen_at = $1",
      [clock.now()],
    );
    expect(rows[0].heard).toBeGreaterThan(0);
  });
}

it("a start time comes once, and not by a clock that is put right again", async () => {
  await using world = await createWorld();
  await using one = await startReplica(world);
  await using two = await startReplica(world);
  const fleet = await Fleet.enrol(world, 4);
  const startAt = new Date(world.clock.now().getTime() + 2 * hour);
  const { catalog } = one.engine;
  const policy = { startAt };
  const firmwareId = await release(world, "1.1.0");
  const actor = "operator:test";
  const { id } = await catalog.create(wanted(firmwareId, { rings, policy }), { actor, requestId: undefined });
  await catalog.start({ id, actor, reason: "go" });
  const live = (ms: number) => pass(world, ms, [one, two], () => fleet.beat(one));
  const stateOf = async () => (await catalog.get(id)).state;
  await live(minute);
  step(world.clock, day);
  await live(minute);
  expect(await stateOf()).toBe("SCHEDULED");
  step(world.clock, -day);
  await live(5 * minute);
  expect(await stateOf()).toBe("SCHEDULED");
  world.clock.advance(2 * hour);
  await until(one, id, ({ state }) => expect(state).toBe("RUNNING"));
  step(world.clock, -hour);
  await live(5 * minute);
  world.clock.advance(2 * hour);
  await live(minute);
  const starts = await one.audit.list({ resourceId: id, action: "rollout.start" }, { limit: 10 });
  expect(starts.map((event) => event.actor)).toEqual(["system:schedule"]);
});
