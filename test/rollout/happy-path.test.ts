import { describe, expect, it } from "vitest";
import {
  actor,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  release,
  ringOf,
  run,
  until,
  wanted,
} from "./rollout-fixture.ts";

describe("a good rollout", () => {
  it("goes through all four rings to every device, proven by heartbeats", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 200);
    fleet.beat(replica);
    const { id } = await run(replica, wanted(firmwareId));

    let reached = 0;
    for (const [at, name] of ["canary", "early", "broad", "production"].entries()) {
      const offers = await fleet.offers(replica);
      reached += offers.length;
      expect(offers.length).toBeGreaterThan(0);
      await fleet.take(replica, offers);
      await until(replica, id, (rollout) =>
        expect(ringOf(rollout, name).counters.inProgress).toBe(offers.length),
      );
      // Proven is not yet succeeded: the watch goes on.
      const watched = await replica.engine.catalog.get(id);
      expect(ringOf(watched, name).counters.succeeded).toBe(0);
      for (const [device] of offers) expect((await fleet.check(replica, device)).kind).toBe("none");
      world.clock.advance(5 * minute);
      fleet.beat(replica);
      await until(replica, id, (rollout) => {
        expect(ringOf(rollout, name).counters.succeeded).toBe(offers.length);
        expect(ringOf(rollout, name).gateHeldSince).toBeDefined();
      });
      await expectExactCounters(world);
      world.clock.advance(minute);
      const next = ["early", "broad", "production"][at];
      await until(replica, id, (rollout) =>
        expect(next === undefined ? rollout.state : ringOf(rollout, next).state).toBe(
          next === undefined ? "COMPLETED" : "OPEN",
        ),
      );
      await until(replica, id, () => expect(replica.engine.index.get(id)?.rings[at]?.state).toBe("PASSED"));
    }
    expect(reached).toBe(200);
    expect(fleet.devices.every(({ version }) => version === "1.1.0")).toBe(true);
    const done = await replica.engine.catalog.get(id);
    expect(done.rings.map(({ state }) => state)).toEqual(["PASSED", "PASSED", "PASSED", "PASSED"]);
    expect(await fleet.offers(replica)).toEqual([]);

    const audit = await replica.audit.list({ resourceId: id }, { limit: 50 });
    expect(audit.map((event) => `${event.action} ${event.actor}`).reverse()).toEqual([
      `rollout.create ${actor}`,
      `rollout.start ${actor}`,
      "rollout.promote system:gate",
      "rollout.promote system:gate",
      "rollout.promote system:gate",
      "rollout.complete system:gate",
    ]);
  });

  it("is offered to a device that appears after completion", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const firmwareId = await release(world, "1.1.0");
    const gate = { minSample: 0, minSuccessPercent: 0, soakMs: 0, manual: false };
    const { id } = await run(replica, wanted(firmwareId, { rings: [{ name: "all", percent: 100, gate }] }));
    await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
    const fleet = await Fleet.enrol(world, 3);
    await until(replica, id, () => expect(replica.engine.index.get(id)?.rollout.state).toBe("COMPLETED"));
    expect(await fleet.offers(replica)).toHaveLength(3);
  });

  it("writes the same few rows to start, however large the fleet is", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const rowsFor = async (version: string): Promise<number> => {
      const firmwareId = await release(world, version);
      const count = async () => {
        const { rows } = await world.database.adminPool.query<{ rows: number }>(
          `SELECT ((SELECT count(*) FROM rollouts) + (SELECT count(*) FROM deployment_rings)
             + (SELECT count(*) FROM device_updates))::int AS rows`,
        );
        return rows[0]?.rows ?? 0;
      };
      const before = await count();
      await run(replica, wanted(firmwareId));
      return (await count()) - before;
    };
    await Fleet.enrol(world, 10);
    const small = await rowsFor("1.1.0");
    await Fleet.enrol(world, 10_000);
    expect(await rowsFor("1.2.0")).toBe(small);
    expect(small).toBe(5);
  });
});
