import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  end,
  expectNobodyDropped,
  expectOneAtATime,
  openScene,
  type Place,
  plan,
  rolloutCount,
  step,
  take,
} from "./competing-scene.ts";
import { createWorld, startReplica } from "./rollout-fixture.ts";

let place: Place;
const cleanup = new AsyncDisposableStack();

beforeAll(async () => {
  const world = cleanup.use(await createWorld());
  place = {
    world,
    replicas: [cleanup.use(await startReplica(world)), cleanup.use(await startReplica(world))],
  };
});

afterAll(() => cleanup.disposeAsync());

it("rollouts that compete never give a device two updates, drop nobody, and stop with exact counters", {
  timeout: 180_000,
}, async () => {
  let runs = 0;
  const counted = { offers: 0, agreed: 0 };
  const plans = fc.array(plan, { minLength: rolloutCount, maxLength: rolloutCount });
  await fc.assert(
    fc.asyncProperty(plans, fc.array(step, { minLength: 30, maxLength: 60 }), async (planned, steps) => {
      runs += 1;
      const scene = await openScene(place, runs, planned);
      for (const each of steps) {
        await take(scene, each);
        expectNobodyDropped(scene);
      }
      counted.offers += scene.offers;
      counted.agreed += scene.agreed;
      await expectOneAtATime(scene);
      await end(scene);
      await expectOneAtATime(scene);
    }),
    { numRuns: 6, endOnFailure: true },
  );
  // Sequences in which nothing was offered would prove nothing.
  expect(counted.offers).toBeGreaterThan(10);
  expect(counted.agreed).toBeGreaterThan(10);
});
