import { describe, expect, it } from "vitest";
import { remediesOf } from "../../src/rollout/model/remedies.ts";
import {
  actor,
  Fleet,
  gate,
  minute,
  openReplica,
  release,
  ringOf,
  until,
  wanted,
} from "./rollout-fixture.ts";

const other = "operator:somebody-else";
const guarded = { ...gate, requireApproval: true };

describe("approval by four eyes", () => {
  it("is waited for before the first ring, and is not the creator's to give", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const rings = [{ name: "all", percent: 100, gate: guarded }];
    const fleet = await Fleet.enrol(world, 2);
    const { id } = await catalog.create(wanted(await release(world, "1.1.0"), { rings }), { actor });
    const waiting = await catalog.start({ id, actor, reason: "" });
    expect(waiting.state).toBe("AWAITING_APPROVAL");
    expect(waiting.startedAt).toBeUndefined();
    const told = await until(replica, id, (rollout) =>
      expect(rollout.alert).toContain("an operator other than operator:test"),
    );
    expect(remediesOf(told)).toMatchObject([{ action: "APPROVE", ring: "all" }]);
    expect(await fleet.offers(replica)).toEqual([]);
    await expect(catalog.approve({ id, actor, reason: "" })).rejects.toMatchObject({
      code: "permission_denied",
      reason: "FOUR_EYES",
    });
    const running = await catalog.approve({ id, actor: other, reason: "looks good" });
    expect(running.state).toBe("RUNNING");
    expect(ringOf(running, "all")).toMatchObject({ state: "OPEN", approver: other });
    expect(running.alert).toBe("");
    expect(running.startedAt).toEqual(world.clock.now());
    expect(await fleet.offers(replica)).toHaveLength(2);
    const [event] = await replica.audit.list({ resourceId: id, action: "rollout.approve" }, { limit: 1 });
    expect(event).toMatchObject({
      actor: other,
      reason: "looks good",
      details: { ring: "all", to: "RUNNING" },
    });
  });

  it("holds back promotion, by rule and by hand, until it is given", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const fleet = await Fleet.enrol(world, 20);
    const rings = [
      { name: "first", percent: 50, gate },
      { name: "second", percent: 100, gate: guarded },
    ];
    const { id } = await catalog.create(wanted(await release(world, "1.1.0"), { rings }), { actor });
    await catalog.start({ id, actor, reason: "" });
    await fleet.take(replica, await fleet.offers(replica));
    await until(replica, id, () => expect(replica.engine.tracker.size).toBeGreaterThan(0));
    world.clock.advance(6 * minute);
    fleet.beat(replica);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "first").counters.inProgress).toBe(0));
    await until(replica, id, (rollout) => expect(ringOf(rollout, "first").gateHeldSince).toBeDefined());
    world.clock.advance(2 * minute);
    await replica.engine.tick();
    expect(ringOf(await catalog.get(id), "second").state).toBe("WAITING");
    await expect(catalog.promote({ id, actor, reason: "" })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
      metadata: { ring: "second", allowed: "approve" },
    });
    await catalog.approve({ id, actor: other, ring: "second", reason: "" });
    await until(replica, id, (rollout) => expect(ringOf(rollout, "second").state).toBe("OPEN"));
  });
});

describe("a start time", () => {
  it("keeps the first ring closed until it has come, through a pause as well", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const fleet = await Fleet.enrol(world, 1);
    const startAt = new Date(world.clock.now().getTime() + 60 * minute);
    const policy = { pauseOnFailure: false, startAt };
    const rings = [{ name: "all", percent: 100, gate }];
    const { id } = await catalog.create(wanted(await release(world, "1.1.0"), { rings, policy }), { actor });
    expect((await catalog.start({ id, actor, reason: "" })).state).toBe("SCHEDULED");
    expect((await catalog.start({ id, actor, reason: "" })).state).toBe("SCHEDULED");
    await catalog.pause({ id, actor, reason: "" });
    expect((await catalog.resume({ id, actor, reason: "" })).state).toBe("SCHEDULED");
    await replica.engine.tick();
    expect(await fleet.offers(replica)).toEqual([]);
    world.clock.advance(60 * minute);
    const running = await until(replica, id, (rollout) => expect(rollout.state).toBe("RUNNING"));
    expect(running.startedAt).toEqual(startAt);
    await until(replica, id, () => expect(replica.engine.index.get(id)?.rollout.state).toBe("RUNNING"));
    expect(await fleet.offers(replica)).toHaveLength(1);
  });

  it("that passes in a pause opens the first ring at the resumption", async () => {
    await using test = await openReplica();
    const { catalog, world } = test;
    const startAt = new Date(world.clock.now().getTime() + minute);
    const policy = { pauseOnFailure: false, startAt };
    const { id } = await catalog.create(wanted(await release(world, "1.1.0"), { policy }), { actor });
    await catalog.start({ id, actor, reason: "" });
    await catalog.pause({ id, actor, reason: "" });
    world.clock.advance(2 * minute);
    const running = await catalog.resume({ id, actor, reason: "" });
    expect(running.state).toBe("RUNNING");
    expect(ringOf(running, "canary").state).toBe("OPEN");
  });
});
