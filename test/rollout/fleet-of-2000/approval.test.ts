import { expect, it } from "vitest";
import { actor, release, ringOf, until, wanted } from "../rollout-fixture.ts";
import {
  expectInvariants,
  fleetSize,
  gate,
  hour,
  install,
  openScene,
  soak,
  statesOf,
  sumOf,
  verify,
} from "./big-fleet.ts";

const colleague = "operator:somebody-else";

it("a rollout waits for a second pair of eyes and for its time, and for such eyes again before the fleet", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const { catalog, index } = replica.engine;
  const guarded = { ...gate, requireApproval: true };
  const startAt = new Date(world.clock.now().getTime() + hour);
  const rings = [
    { name: "canary", percent: 10, gate: guarded },
    { name: "fleet", percent: 100, gate: guarded },
  ];
  const { id } = await catalog.create(
    wanted(await release(world, "1.1.0"), { rings, policy: { pauseOnFailure: false, startAt } }),
    { actor },
  );
  const call = { id, reason: "go" };
  expect((await catalog.start({ ...call, actor })).state).toBe("AWAITING_APPROVAL");
  await expect(catalog.approve({ ...call, actor })).rejects.toMatchObject({ reason: "FOUR_EYES" });
  expect(await fleet.offers(replica)).toEqual([]);
  expect((await catalog.approve({ ...call, actor: colleague })).state).toBe("SCHEDULED");
  world.clock.advance(hour - 1_000);
  await replica.engine.tick();
  expect((await catalog.get(id)).state).toBe("SCHEDULED");
  expect(await fleet.offers(replica)).toEqual([]);
  expect(await statesOf(world, id)).toEqual({});
  world.clock.advance(1_000);
  const running = await until(replica, id, (rollout) => expect(rollout.state).toBe("RUNNING"));
  expect(running.startedAt).toEqual(startAt);
  await until(replica, id, () => expect(index.get(id)?.rollout.state).toBe("RUNNING"));

  const canaries = await fleet.offers(replica);
  await install(scene, canaries);
  await verify(scene, canaries);
  await soak(scene, id, "canary");
  world.clock.advance(hour);
  await replica.engine.tick();
  expect(ringOf(await catalog.get(id), "fleet").state).toBe("WAITING");
  expect(await fleet.offers(replica)).toEqual([]);
  const later = { ...call, ring: "fleet" };
  await expect(catalog.approve({ ...later, actor })).rejects.toMatchObject({ reason: "FOUR_EYES" });
  await expect(catalog.promote({ ...later, actor })).rejects.toMatchObject({ reason: "ILLEGAL_TRANSITION" });
  await catalog.approve({ ...later, actor: colleague });
  await until(replica, id, () => expect(index.get(id)?.rings[1]?.state).toBe("OPEN"));

  const rest = await fleet.offers(replica);
  expect(rest).toHaveLength(fleetSize - canaries.length);
  await install(scene, rest);
  await verify(scene, rest);
  await soak(scene, id, "fleet");
  const completed = await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  expect(sumOf(completed, "succeeded")).toBe(fleetSize);
  const approvals = await replica.audit.list({ resourceId: id, action: "rollout.approve" }, { limit: 9 });
  expect(approvals.map((event) => [event.actor, event.details?.["ring"]])).toEqual([
    [colleague, "fleet"],
    [colleague, "canary"],
  ]);
  await expectInvariants(world);
});
