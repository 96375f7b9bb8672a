import { describe, expect, it } from "vitest";
import type { DeviceError } from "../../src/device/state/heartbeat-record.ts";
import { addEvidence, noEvidence } from "../../src/rollout/health/evidence-sums.ts";
import { HealthEvidence } from "../../src/rollout/health/health-evidence.ts";
import type { Rollout } from "../../src/rollout/model/rollout.ts";
import {
  Fleet,
  minute,
  openReplica,
  type Replica,
  release,
  ringOf,
  run,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const crash: DeviceError = {
  code: "SIGSEGV",
  severity: "CRITICAL",
  message: "segmentation fault",
  stack: "",
  fatal: true,
};

describe("a rollout whose devices crash twice as often, without one reported failure", () => {
  it("is rolled back by the health verdict", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const { fleet, id } = await canaryDone(world, replica);
    await slowBurn({ world, replica, fleet, id }, 2);
    const stopped = await until(replica, id, ({ state }) => expect(state).toBe("ROLLING_BACK"));
    expect(ringOf(stopped, "canary").counters.failed).toBe(0);
    const [event] = await replica.audit.list({ resourceId: id }, { limit: 1 });
    expect(event?.actor).toBe("system:health");
    expect(event?.reason).toMatch(/devices crashed: \d+ in [\d.]+ device days on the new version/);
    const health = await replica.engine.health.read(id, stopped.policy.healthAlpha);
    expect(health.signals.find(({ name }) => name === "crash_rate")?.pValue).toBeLessThan(0.01 / 6);
  });

  it("goes on if it crashes no more often than before, and is promoted once that is known", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const { fleet, id } = await canaryDone(world, replica);
    const held = await slowBurn({ world, replica, fleet, id }, 1);
    expect(held.state).toBe("RUNNING");
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").state).toBe("OPEN"));
  });
});

describe("HealthEvidence", () => {
  it("adds what several replicas saw at the same time", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const { id } = await run(replica, wanted(await release(world, "1.1.0")));
    const [store, other] = [
      new HealthEvidence(replica.database.pool),
      new HealthEvidence(replica.database.pool),
    ];
    const seen = new Map([
      ["crash_rate", { ...noEvidence, updatedEvents: 1, logFactors: [0.5, 1, 1, 1] }],
      ["cpu_percent", { ...noEvidence, score: 2, information: 0.5 }],
    ] as const);
    await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? store : other).add(id, seen)));
    const read = (await store.read([id])).get(id);
    const twenty = Array.from({ length: 20 }).reduce(
      (sum: typeof noEvidence) => addEvidence(sum, seen.get("crash_rate") ?? noEvidence),
      noEvidence,
    );
    expect(read?.get("crash_rate")?.sums).toEqual(twenty);
    expect(read?.get("cpu_percent")?.sums.score).toBeCloseTo(40);
    // Evidence of that size is never rolled back by what is seen later.
    const lowest = read?.get("crash_rate")?.lowestP ?? 1;
    expect(lowest).toBeLessThan(1e-6);
    await store.add(id, new Map([["crash_rate", { ...noEvidence, logFactors: [-50, -50, -50, -50] }]]));
    expect((await store.read([id])).get(id)?.get("crash_rate")?.lowestP).toBe(lowest);
  });
});

interface Scene {
  readonly world: World;
  readonly replica: Replica;
  readonly fleet: Fleet;
  readonly id: string;
}

/** Two thousand devices, a quarter of which have taken the update well; the gate waits for "no worse". */
async function canaryDone(world: World, replica: Replica): Promise<{ fleet: Fleet; id: string }> {
  await release(world, "1.0.0");
  const firmwareId = await release(world, "1.1.0");
  const fleet = await Fleet.enrol(world, 2_000);
  fleet.beat(replica);
  const open = { minSample: 0, minSuccessPercent: 0, soakMs: 0, manual: false, requireApproval: false };
  const { id } = await run(
    replica,
    wanted(firmwareId, {
      policy: { pauseOnFailure: false, maxInProgress: 1_000, crashLimit: 1_000 },
      rings: [
        { name: "canary", percent: 25, gate: { ...open, requireNoWorseHealth: true } },
        // It asks for nobody, and would pass at once.
        { name: "all", percent: 100, gate: { ...open, manual: true, requireNoWorseHealth: false } },
      ],
    }),
  );
  fleet.beat(replica);
  const offers = await fleet.offers(replica);
  expect(offers.length).toBeGreaterThan(400);
  await fleet.take(replica, offers);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "canary").counters.inProgress).toBe(offers.length),
  );
  world.clock.advance(6 * minute);
  fleet.beat(replica);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "canary").counters.succeeded).toBe(offers.length),
  );
  return { fleet, id };
}

/** Two days of heartbeats every half hour: a crash in 100 hours of a device, `factor` times as often on the new version. */
async function slowBurn({ world, replica, fleet, id }: Scene, factor: number): Promise<Rollout> {
  let lot = 7;
  const random = () => {
    lot = (Math.imul(lot, 1_664_525) + 1_013_904_223) >>> 0;
    return lot / 4_294_967_296;
  };
  for (let halfHour = 0; halfHour < 96; halfHour++) {
    world.clock.advance(30 * minute);
    const crashing = fleet.devices.filter(
      ({ version }) => random() < (0.01 / 2) * (version === "1.1.0" ? factor : 1),
    );
    for (const device of crashing) fleet.reboot(device);
    const calm = new Set(crashing);
    fleet.beat(replica, crashing, [crash]);
    fleet.beat(
      replica,
      fleet.devices.filter((device) => !calm.has(device)),
    );
    await replica.engine.tick();
    const rollout = await replica.engine.catalog.get(id);
    if (rollout.state !== "RUNNING" || ringOf(rollout, "all").state !== "WAITING") return rollout;
  }
  return replica.engine.catalog.get(id);
}
