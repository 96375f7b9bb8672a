import { expect, it } from "vitest";
import { release, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  expectInvariants,
  fleetSize,
  minute,
  oneRing,
  openScene,
  soak,
  type Taken,
  untilStates,
} from "./big-fleet.ts";

const offersPerMinute = 250;
const maxInProgress = 600;
/** How many minutes a device is updating. */
const takesMinutes = 3;

it("a ramp makes so many offers a minute, has so many devices updating, and spreads those that wait", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const policy = {
    pauseOnFailure: false,
    offersPerMinute,
    maxInProgress,
    verificationMs: (takesMinutes - 1) * minute,
  };
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing, policy }));

  const underWay: (readonly Taken[])[] = [];
  let waiting = fleet.devices;
  let reached = 0;
  let finished = 0;
  const most = { offers: 0, inProgress: 0 };
  for (let passed = 0; finished < fleetSize; passed++) {
    expect(passed).toBeLessThan(30);
    const offers = await fleet.offers(replica, waiting);
    reached += offers.length;
    const offered = new Set(offers.map(([device]) => device));
    waiting = waiting.filter((device) => !offered.has(device));
    if (passed === 0) await expectSpread(waiting);
    const { counters } = ringOf(await replica.engine.catalog.get(id), "all");
    most.offers = Math.max(most.offers, offers.length);
    most.inProgress = Math.max(most.inProgress, counters.inProgress);
    expect(counters.offered).toBe(reached);
    underWay.push(offers);
    await fleet.take(replica, offers);
    await untilStates(replica, offers, "VERIFYING");
    world.clock.advance(minute);
    if (underWay.length < takesMinutes) continue;
    const oldest = underWay.shift() ?? [];
    finished += oldest.length;
    fleet.beat(
      replica,
      oldest.map(([device]) => device),
    );
    await until(replica, id, () => {
      for (const [device] of oldest) expect(replica.engine.tracker.get(device.id)).toBeUndefined();
    });
  }
  // Both limits were reached, and none was passed.
  expect(most).toEqual({ offers: offersPerMinute, inProgress: maxInProgress });
  await soak(scene, id, "all");
  const completed = await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  expect(ringOf(completed, "all").counters.succeeded).toBe(fleetSize);
  await expectInvariants(world);

  /** As many devices as have to wait are not told to come back at the same time. */
  async function expectSpread(deferrals: typeof fleet.devices): Promise<void> {
    const answers = await Promise.all(deferrals.map((device) => fleet.check(replica, device)));
    const spreads = answers.map((answer) => {
      expect(answer).toMatchObject({ kind: "none", reason: "PACED" });
      return answer.kind === "none" ? (answer.retry?.spreadMs ?? 0) : 0;
    });
    // Whoever comes at random within its spread, in which minute would it be?
    const minutes = Math.floor(deferrals.length / offersPerMinute);
    expect(Math.max(...spreads)).toBeGreaterThanOrEqual(minutes * minute);
    const inFirstMinute = spreads.reduce((sum, spreadMs) => sum + Math.min(1, minute / spreadMs), 0);
    expect(inFirstMinute).toBeLessThan(deferrals.length / 2);
  }
});
