import { expect, it } from "vitest";
import { actor, release, ringOf, run, until, wanted } from "../rollout-fixture.ts";
import {
  devicesOf,
  expectInvariants,
  fleetSize,
  gate,
  hour,
  install,
  openScene,
  soak,
  sumOf,
  verify,
} from "./big-fleet.ts";

it("a pause in mid-flight makes no offer, lets go on who is updating, and ends with the resumption", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const { catalog, index } = replica.engine;
  const rings = [
    { name: "half", percent: 50, gate },
    { name: "all", percent: 100, gate },
  ];
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
  const early = await fleet.offers(replica, fleet.devices.slice(0, fleetSize / 2));
  const begun = early.slice(0, 250);
  const waiting = early.slice(250);
  await install(scene, begun);

  // In the very moment in which others ask.
  const later = fleet.devices.slice(fleetSize / 2);
  const [asking] = await Promise.all([
    fleet.offers(replica, later.slice(0, 100)),
    catalog.pause({ id, actor, reason: "let us look" }),
  ]);
  await until(replica, id, () => expect(index.get(id)?.rollout.state).toBe("PAUSED"));
  const open = [...early, ...asking];
  const rest = later.filter((device) => !devicesOf(asking).includes(device));
  expect(await fleet.offers(replica, rest)).toEqual([]);
  const answers = await Promise.all(rest.map((device) => fleet.check(replica, device)));
  expect(new Set(answers.map((answer) => (answer.kind === "none" ? answer.reason : "offer")))).toEqual(
    new Set(["ROLLOUT_PAUSED"]),
  );
  const same = await fleet.offers(replica, devicesOf(waiting));
  expect(same.map(([, update]) => update.id)).toEqual(waiting.map(([, update]) => update.id));

  await install(scene, [...waiting, ...asking]);
  await verify(scene, open);
  const paused = await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "half").counters.succeeded).toBe(open.length),
  );
  expect(sumOf(paused, "offered")).toBe(open.length);
  await expectInvariants(world);
  world.clock.advance(hour);
  await replica.engine.tick();
  const still = await catalog.get(id);
  expect(still.state).toBe("PAUSED");
  expect(still.rings.map(({ state }) => state)).toEqual(["OPEN", "WAITING"]);

  await catalog.resume({ id, actor, reason: "looks good" });
  await until(replica, id, () => expect(index.get(id)?.rollout.state).toBe("RUNNING"));
  for (const name of ["half", "all"]) {
    await until(replica, id, () =>
      expect(index.get(id)?.rings.find((ring) => ring.name === name)?.state).toBe("OPEN"),
    );
    const offers = await fleet.offers(replica);
    await install(scene, offers);
    await verify(scene, offers);
    await soak(scene, id, name);
    await until(replica, id, (rollout) => expect(ringOf(rollout, name).state).toBe("PASSED"));
  }
  const completed = await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  expect(sumOf(completed, "succeeded")).toBe(fleetSize);
  await expectInvariants(world);
});
