import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sql } from "../../src/infra/database/sql.ts";
import { promote } from "../../src/rollout/decide/rollout-verbs.ts";
import type { DeviceUpdateState } from "../../src/rollout/model/device-update.entity.ts";
import { isFinalUpdate } from "../../src/rollout/model/device-update-state.ts";
import { lockRollout, RolloutTransactions } from "../../src/rollout/model/rollout-transactions.ts";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  gate,
  minute,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

describe("two replicas on one database", () => {
  it("promote once, count once and both know", async () => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using two = await startReplica(world);
    const fleet = await Fleet.enrol(world, 100);
    fleet.beat(one);
    fleet.beat(two);
    // Chance fills the rings: large enough that none is ever empty.
    const rings = [
      { name: "canary", percent: 40, gate },
      { name: "early", percent: 70, gate },
      { name: "broad", percent: 100, gate },
    ];
    const { id } = await run(one, wanted(await release(world, "1.1.0"), { rings }));
    await until(two, id, () => expect(two.engine.index.get(id)).toBeDefined());
    const offers = await fleet.offers(two);
    expect(offers.length).toBeGreaterThan(0);
    await fleet.take(two, offers);
    // The devices' streams moved: their later heartbeats reach the other replica.
    await until(one, id, () => {
      for (const [device] of offers) expect(one.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
    });
    world.clock.advance(5 * minute);
    fleet.beat(one);
    fleet.beat(two);
    await until(one, id, (rollout) =>
      expect(ringOf(rollout, "canary").counters.succeeded).toBe(offers.length),
    );
    await until(one, id, (rollout) => expect(ringOf(rollout, "canary").gateHeldSince).toBeDefined());
    world.clock.advance(minute);
    await Promise.all([one, two].map((replica) => replica.engine.tick()));
    await until(one, id, (rollout) => expect(ringOf(rollout, "early").state).toBe("OPEN"));
    await until(two, id, () => expect(two.engine.index.get(id)?.rings[1]?.state).toBe("OPEN"));
    await Promise.all([one, two].map((replica) => replica.engine.tick()));
    const promotions = await one.audit.list({ resourceId: id, action: "rollout.promote" }, { limit: 10 });
    expect(promotions).toHaveLength(1);
    expect(ringOf(await one.engine.catalog.get(id), "broad").state).toBe("WAITING");
    await expectExactCounters(world);
  });

  it("promote once more after one died in the middle of it", async () => {
    await using world = await createWorld();
    const firmwareId = await release(world, "1.1.0");
    const gate = { minSample: 0, minSuccessPercent: 0, soakMs: minute, manual: false };
    const rings = [50, 100].map((percent, at) => ({ name: ["first", "second"][at] ?? "", percent, gate }));
    await using one = await startReplica(world);
    const { id } = await run(one, wanted(firmwareId, { rings }));
    const dying = new RolloutTransactions({
      database: one.database,
      audit: one.audit,
      hearing: one.engine.hearing,
      changed: () => Promise.resolve(),
    });
    // The rings are written, the record as well; then the process is gone before it commits.
    const died = dying.run(async (tx) => {
      await promote(tx, await lockRollout(tx, id), { actor: "system:gate", reason: "held" });
      await tx.run(sql`SELECT pg_terminate_backend(pg_backend_pid())`);
    });
    await expect(died).rejects.toThrow();
    expect((await one.engine.catalog.get(id)).rings.map(({ state }) => state)).toEqual(["OPEN", "WAITING"]);
    await until(one, id, (rollout) => expect(ringOf(rollout, "first").gateHeldSince).toBeDefined());
    world.clock.advance(minute);
    await until(one, id, (rollout) => expect(ringOf(rollout, "second").state).toBe("OPEN"));
    const promotions = await one.audit.list({ resourceId: id, action: "rollout.promote" }, { limit: 10 });
    expect(promotions).toHaveLength(1);
    expect(promotions[0]?.details).toMatchObject({ rule: "gate", judged_ring: "first", ring: "second" });
  });

  it("give a device that asks both one update", async () => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using two = await startReplica(world);
    const fleet = await Fleet.enrol(world, 30);
    const rings = [{ name: "all", percent: 100, gate }];
    const { id } = await run(one, wanted(await release(world, "1.1.0"), { rings }));
    await until(two, id, () => expect(two.engine.index.get(id)).toBeDefined());
    const [here, there] = await Promise.all([fleet.offers(one), fleet.offers(two)]);
    expect(here).toHaveLength(30);
    expect(there.map(([, update]) => update.id)).toEqual(here.map(([, update]) => update.id));
    await expectExactCounters(world);
  });
});

describe("a replica that starts in the middle", () => {
  it("goes on where the other one was killed", async () => {
    await using world = await createWorld();
    const fleet = await Fleet.enrol(world, 40);
    await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const rings = [{ name: "all", percent: 100, gate }];
    let id = "";
    {
      await using first = await startReplica(world);
      ({ id } = await run(first, wanted(firmwareId, { rings })));
      await fleet.take(first, await fleet.offers(first));
      await until(first, id, () => {
        for (const device of fleet.devices)
          expect(first.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
      });
    }
    await using second = await startReplica(world);
    expect(second.engine.tracker.size).toBe(40);
    world.clock.advance(5 * minute);
    fleet.beat(second);
    await until(second, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(40));
    await until(second, id, (rollout) => expect(ringOf(rollout, "all").gateHeldSince).toBeDefined());
    world.clock.advance(minute);
    await until(second, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  });

  it("gives devices time to be heard from before a deadline that passed meanwhile counts", async () => {
    await using world = await createWorld();
    const fleet = await Fleet.enrol(world, 2);
    const firmwareId = await release(world, "1.1.0");
    const gate = { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: true };
    const rings = [{ name: "all", percent: 100, gate }];
    let id = "";
    {
      await using first = await startReplica(world);
      ({ id } = await run(
        first,
        wanted(firmwareId, { rings, policy: { pauseOnFailure: false, verificationMs: 0 } }),
      ));
      const offers = await fleet.offers(first);
      await Promise.all(offers.map(([device, update]) => report(first, device.id, update.id, "REBOOTING")));
    }
    world.clock.advance(48 * 60 * minute);
    const [heard] = fleet.devices;
    if (heard === undefined) throw new Error("no device");
    await using second = await startReplica(world);
    await second.engine.tick();
    expect(second.engine.tracker.size).toBe(2);
    fleet.reboot(heard, "1.1.0");
    fleet.beat(second, [heard]);
    await until(second, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(1));
    world.clock.advance(4 * minute);
    await until(second, id, (rollout) => expect(ringOf(rollout, "all").counters.failed).toBe(1));
  });
});

describe("whatever happens", () => {
  it("a device has one open update, counters equal the rows, and what ended stays so", async () => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using two = await startReplica(world);
    const replicas = [one, two];
    await release(world, "1.0.0");
    const gate = { minSample: 3, minSuccessPercent: 50, soakMs: minute, manual: false };
    const rings = [
      { name: "half", percent: 50, gate },
      { name: "all", percent: 100, gate },
    ];
    let version = 0;
    const ended = new Map<string, string>();
    const step = fc.record({
      kind: fc.constantFrom("check", "report", "report", "beat", "reboot", "wait", "verb"),
      device: fc.nat(11),
      replica: fc.nat(1),
      state: fc.constantFrom("DOWNLOADING", "DOWNLOADED", "INSTALLING", "REBOOTING", "FAILED"),
      verb: fc.constantFrom("pause", "resume", "promote", "rollback", "abort"),
      back: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
        version += 1;
        const fleet = await Fleet.enrol(world, 12);
        const rollout = await run(one, wanted(await release(world, `1.${version}.0`), { rings }));
        const { catalog } = one.engine;
        const refusals = new Set<string>();
        for (const each of steps) {
          const replica = replicas[each.replica] ?? one;
          const device = fleet.devices[each.device];
          if (device === undefined) throw new Error("no device");
          const open = replica.engine.tracker.get(device.id);
          const verbs = catalog as unknown as Record<string, (call: object) => Promise<unknown>>;
          if (each.kind === "check") await fleet.check(replica, device);
          if (each.kind === "report" && open !== undefined)
            await report(replica, device.id, open.id, each.state as "FAILED", "X");
          if (each.kind === "beat") fleet.beat(replica, [device]);
          if (each.kind === "reboot") {
            fleet.reboot(device, each.back ? "1.0.0" : (open?.toVersion ?? device.version));
            fleet.beat(replica, [device]);
          }
          if (each.kind === "wait") world.clock.advance(3 * minute);
          if (each.kind === "verb")
            await verbs[each.verb]?.({ id: rollout.id, actor, reason: "" })?.catch(
              (error: { reason: string }) => refusals.add(error.reason),
            );
        }
        expect(refusals.difference(new Set(["ILLEGAL_TRANSITION", "NOTHING_TO_DO"]))).toEqual(new Set());
        const { rows: twice } = await world.database.adminPool.query(
          "SELECT device_id FROM device_updates WHERE ended_at IS NULL GROUP BY device_id HAVING count(*) > 1",
        );
        expect(twice).toEqual([]);
        await expectExactCounters(world);
        const { rows } = await world.database.adminPool.query<{ id: string; state: string; over: boolean }>(
          "SELECT id, state, ended_at IS NOT NULL AS over FROM device_updates",
        );
        for (const { id, state, over } of rows) {
          expect(over).toBe(isFinalUpdate(state as DeviceUpdateState));
          expect(ended.get(id) ?? state).toBe(state);
          if (over) ended.set(id, state);
        }
        // Whatever it came to, a rollback comes to an end; where nobody has to go back, there is none.
        const call = { id: rollout.id, actor, reason: "" };
        await catalog.rollback(call).catch(async () => await catalog.abort(call).catch(() => undefined));
        world.clock.advance(25 * 60 * minute);
        await until(one, rollout.id, ({ state }) => expect(["ROLLED_BACK", "ABORTED"]).toContain(state));
      }),
      { numRuns: 15 },
    );
    expect(ended.size).toBeGreaterThan(0);
  });
});
