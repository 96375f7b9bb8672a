import type { Replica, World } from "./rollout-fixture.ts";

/** Lets time pass as it does: in steps between which the replicas look, and the devices beat. */
export async function pass(
  world: World,
  ms: number,
  replicas: readonly Replica[],
  beat: () => void,
): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    world.clock.advance(stepMs);
    beat();
    await Promise.all(replicas.map(({ engine }) => engine.tick()));
  }
}

const stepMs = 5_000;
