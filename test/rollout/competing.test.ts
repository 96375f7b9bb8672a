import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { expectNobodyDropped, expectOneAtATime } from "./competing-expectations.ts";
import { end, openScene, type Place, plan, rolloutCount, step, take } from "./competing-scene.ts";
import { createWorld, startReplica } from "./rollout-fixture.ts";

/** Set it to the seed of scenes that failed, to see those alone. */
const seed = process.env["COMPETING_SEED"];
/** The same each time; the name of the test and the failure have them. */
const seeds = seed === undefined ? [11, 12] : [Number(seed)];
const scenesOfSeed = Number(process.env["COMPETING_SCENES"] ?? 4);

let place: Place;
let scenes = 0;
const cleanup = new AsyncDisposableStack();

beforeAll(async () => {
  const world = cleanup.use(await createWorld());
  place = {
    world,
    replicas: [cleanup.use(await startReplica(world)), cleanup.use(await startReplica(world))],
  };
});

afterAll(() => cleanup.disposeAsync());

it.each(seeds)(
  "rollouts that compete never give a device two updates, drop nobody, and stop with exact counters (seed %d)",
  { timeout: 600_000 + scenesOfSeed * 20_000 },
  async (each) => {
    const counted = { offers: 0, agreed: 0 };
    const plans = fc.array(plan, { minLength: rolloutCount, maxLength: rolloutCount });
    await fc.assert(
      fc.asyncProperty(plans, fc.array(step, { minLength: 30, maxLength: 60 }), async (planned, steps) => {
        scenes += 1;
        const scene = await openScene(place, scenes, planned);
        for (const happening of steps) {
          await take(scene, happening);
          expectNobodyDropped(scene);
        }
        counted.offers += scene.offers;
        counted.agreed += scene.agreed;
        await expectOneAtATime(scene);
        await end(scene);
        await expectOneAtATime(scene);
      }),
      { seed: each, numRuns: scenesOfSeed, endOnFailure: true },
    );
    // Sequences in which nothing was offered would prove nothing.
    expect(counted.offers).toBeGreaterThan(10);
    expect(counted.agreed).toBeGreaterThan(10);
  },
);
