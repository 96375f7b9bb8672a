import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OtaError } from "../../src/errors.ts";
import { isFinalUpdate } from "../../src/rollout/model/device-update-state.ts";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  minute,
  type Replica,
  release,
  report,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const gate = { minSample: 2, minSuccessPercent: 50, soakMs: minute, manual: false };
const rings = [
  { name: "first", percent: 50, gate },
  { name: "second", percent: 100, gate },
];
const fleetSize = 8;

const step = fc.oneof(
  { weight: 4, arbitrary: device("check") },
  { weight: 6, arbitrary: device("report") },
  { weight: 3, arbitrary: device("reboot") },
  { weight: 3, arbitrary: device("beat") },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), minutes: fc.integer({ min: 1, max: 30 }) }),
  },
  { weight: 1, arbitrary: device("retry") },
  { weight: 1, arbitrary: device("rollBackDevice") },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("verb" as const),
      verb: fc.constantFrom("pause", "resume", "promote", "rollbackRing" as const),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

describe("whatever happens, on two replicas", () => {
  it("counters equal the rows, a device has one open update, what is final stays, and a rollback ends", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 45 }), async (steps) => {
        await using world = await createWorld();
        await using first = await startReplica(world);
        await using second = await startReplica(world);
        await release(world, "1.0.0");
        const firmwareId = await release(world, "1.1.0");
        const fleet = await Fleet.enrol(world, fleetSize);
        await fleet.enrolledWithOneKey(fleet.devices.slice(0, 3));
        const policy = { pauseOnFailure: false, maxRetries: 1, retryBackoffMs: minute, failureMinSample: 4 };
        const { catalog } = first.engine;
        const { id } = await catalog.create(wanted(firmwareId, { rings, policy }), { actor });
        await catalog.start({ id, actor, reason: "" });
        const ends = new Map<string, string>();
        for (const [at, each] of steps.entries()) {
          await take(each, at % 2 === 0 ? first : second, fleet, world, id);
          await expectFinalStays(world, ends);
        }
        await expectExactCounters(world);
        const call = { id, actor, reason: "enough" };
        // Nobody may be left who has to go back.
        if (!(await permitted(() => catalog.rollback(call)))) await catalog.abort(call);
        await expect
          .poll(
            async () => {
              world.clock.advance(5 * 60 * minute);
              await first.engine.tick();
              return (await catalog.get(id)).state;
            },
            { interval: 20 },
          )
          .toMatch(/ROLLED_BACK|ABORTED/);
        await expectFinalStays(world, ends);
        await expectExactCounters(world);
        const { rows } = await world.database.adminPool.query(
          "SELECT 1 FROM device_updates WHERE ended_at IS NULL",
        );
        expect(rows).toEqual([]);
        await until(second, id, (rollout) => expect(rollout.state).toMatch(/ROLLED_BACK|ABORTED/));
      }),
      { numRuns: 4, endOnFailure: true },
    );
  });
});

function device<Kind extends string>(kind: Kind) {
  return fc.record({
    kind: fc.constant(kind),
    at: fc.nat(fleetSize - 1),
    fails: fc.boolean(),
    state: fc.constantFrom("DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING" as const),
  });
}

async function take(each: Step, replica: Replica, fleet: Fleet, world: World, id: string): Promise<void> {
  const { catalog, tracker } = replica.engine;
  if (each.kind === "wait") {
    world.clock.advance(each.minutes * minute);
    return await replica.engine.tick();
  }
  const call = { id, actor, reason: "" };
  if (each.kind === "verb") {
    await permitted(() =>
      each.verb === "rollbackRing"
        ? catalog.rollbackRing({ ...call, ring: "first" })
        : catalog[each.verb](call),
    );
    return;
  }
  const one = fleet.devices[each.at];
  if (one === undefined) return;
  const update = tracker.get(one.id);
  switch (each.kind) {
    case "check":
      await fleet.check(replica, one);
      return;
    case "report":
      if (update !== undefined)
        await report(
          replica,
          one.id,
          update.id,
          each.fails ? "FAILED" : each.state,
          each.fails ? "MADE_UP" : "",
        );
      return;
    case "reboot":
      world.clock.advance(5_000);
      fleet.reboot(one, each.fails || update === undefined ? one.version : update.toVersion);
      return fleet.beat(replica, [one]);
    case "beat":
      return fleet.beat(replica, [one]);
    case "retry":
      await permitted(() => catalog.retryDevice({ ...call, deviceId: one.id }));
      return;
    case "rollBackDevice":
      await permitted(() => catalog.rollbackDevice({ ...call, deviceId: one.id }));
      return;
  }
}

/** Whether it was done. What the states do not allow, or what has nothing to do, is refused, and that is all right. */
async function permitted(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof OtaError && refusals.has(error.reason)) return false;
    throw error;
  }
}

const refusals: ReadonlySet<string> = new Set(["ILLEGAL_TRANSITION", "NOTHING_TO_DO"]);

async function expectFinalStays({ database }: World, ends: Map<string, string>): Promise<void> {
  const { rows } = await database.adminPool.query<{
    id: string;
    state: Parameters<typeof isFinalUpdate>[0];
    ended: boolean;
  }>("SELECT id, state, ended_at IS NOT NULL AS ended FROM device_updates");
  for (const { id, state, ended } of rows) {
    expect(isFinalUpdate(state)).toBe(ended);
    expect(state).toBe(ends.get(id) ?? state);
    if (ended) ends.set(id, state);
  }
}
