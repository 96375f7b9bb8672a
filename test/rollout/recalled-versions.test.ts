import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { readRecalls } from "../../src/firmware/recalls.ts";
import type { OpenUpdate } from "../../src/rollout/model/open-update.ts";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  type Replica,
  release,
  report,
  ringOf,
  run,
  type SimulatedDevice,
  startReplica,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const all = [{ name: "all", percent: 100 }];
const by = { actor, reason: "it burns" };
const day = 24 * 60 * minute;

type Taken = [SimulatedDevice, Readonly<OpenUpdate>];

function recall(replica: Replica, firmwareId: string, replacementId: string) {
  return replica.engine.recalls.recall({ name: { firmwareId }, replacementId, policy: {} }, by);
}

/** A fleet that was brought from 1.0.0 to 1.1.0, which turned out bad. */
async function bad(world: World, replica: Replica, size: number) {
  const fleet = await Fleet.enrol(world, size);
  const old = await release(world, "1.0.0");
  const firmwareId = await release(world, "1.1.0");
  fleet.beat(replica);
  const rollout = await run(replica, wanted(firmwareId, { rings: all }));
  await prove(world, replica, fleet, await fleet.offers(replica));
  await until(replica, rollout.id, ({ rings }) => expect(rings[0]?.counters.succeeded).toBe(size));
  return { fleet, old, firmwareId, rollout };
}

async function prove(world: World, replica: Replica, fleet: Fleet, taken: readonly Taken[]): Promise<void> {
  await fleet.take(replica, taken);
  world.clock.advance(6 * minute);
  fleet.beat(
    replica,
    taken.map(([device]) => device),
  );
}

async function versionsOffered(replica: Replica, fleet: Fleet): Promise<string[]> {
  return (await fleet.offers(replica)).map(([, { toVersion }]) => toVersion);
}

describe("a recalled version", () => {
  it("is left by whoever runs it, by the way out, which heartbeats prove and which is never complete", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const { fleet, old, firmwareId, rollout } = await bad(world, replica, 3);
    const recalled = await recall(replica, firmwareId, old);
    expect(recalled).toMatchObject({
      version: "1.1.0",
      replacementVersion: "1.0.0",
      reason: "it burns",
      actor,
      effect: {
        unchanged: false,
        message:
          "Version 1.1.0 of os is recalled, and whoever runs it is offered 1.0.0; 1 rollout is paused.",
      },
    });
    const offers = await fleet.offers(replica);
    expect(offers.map(([, { toVersion, rolloutId }]) => [toVersion, rolloutId])).toEqual(
      Array.from({ length: 3 }, () => ["1.0.0", recalled.rolloutId]),
    );
    await prove(world, replica, fleet, offers);
    const out = await until(replica, recalled.rolloutId, ({ rings }) =>
      expect(rings[0]?.counters.succeeded).toBe(3),
    );
    world.clock.advance(60 * minute);
    await replica.engine.tick();
    expect(await replica.engine.catalog.get(out.id)).toMatchObject({ state: "RUNNING", alert: "" });
    expect(await versionsOffered(replica, fleet)).toEqual([]);
    expect(fleet.devices.map(({ version }) => version)).toEqual(["1.0.0", "1.0.0", "1.0.0"]);
    expect((await replica.engine.catalog.get(rollout.id)).state).toBe("PAUSED");
    await expectExactCounters(world);
  });

  it("can be deployed no more, and pauses the rollouts that bring it, with their offers cancelled", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const fleet = await Fleet.enrol(world, 2);
    const old = await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const rollout = await run(replica, wanted(firmwareId, { rings: all }));
    const [taken, offered] = await fleet.offers(replica);
    if (taken === undefined || offered === undefined) throw new Error("no offers");
    await fleet.take(replica, [taken]);
    const { effect } = await recall(replica, firmwareId, old);
    expect(effect).toMatchObject({ pausedRollouts: 1, cancelled: 1 });
    const paused = await catalog.get(rollout.id);
    expect(paused).toMatchObject({
      state: "PAUSED",
      alert: "it brings what no device may run: 1.1.0 is recalled: it burns",
    });
    const [device, update] = offered;
    expect(await report(replica, device.id, update.id, "INSTALLING")).toBe("CANCELLED");
    const refused = { code: "failed_precondition", reason: "FIRMWARE_RECALLED" };
    await expect(catalog.resume({ id: rollout.id, ...by })).rejects.toMatchObject(refused);
    await expect(
      catalog.create(wanted(firmwareId), { actor, requestId: randomUUID() }),
    ).rejects.toMatchObject(refused);
    await expect(
      catalog.deploy(wanted(firmwareId), undefined, { actor, requestId: randomUUID() }),
    ).rejects.toMatchObject(refused);
    expect(await fleet.check(replica, device)).toMatchObject({ kind: "none", reason: "ROLLOUT_PAUSED" });
    await expectExactCounters(world);
  });

  it("is known before it is in the catalogue, by whatever text devices report", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 2, "2024.08.1");
    const replacementId = await release(world, "1.0.0");
    const { effect, ...recalled } = await replica.engine.recalls.recall(
      { name: { product: "os", version: "2024.08.1" }, replacementId, policy: {} },
      by,
    );
    expect(effect.unchanged).toBe(false);
    expect(recalled.firmwareId).toBeUndefined();
    expect(await versionsOffered(replica, fleet)).toEqual(["1.0.0", "1.0.0"]);
    // Whoever uploads it later cannot deploy it.
    const late = await release(world, "2024.8.1");
    await world.database.adminPool.query(
      "UPDATE firmware_updates SET reported_versions = '{2024.08.1}' WHERE id = $1",
      [late],
    );
    await expect(
      replica.engine.catalog.create(wanted(late), { actor, requestId: randomUUID() }),
    ).rejects.toMatchObject({ reason: "FIRMWARE_RECALLED" });
  });

  it("is led out of again by a device that comes back on it, three times a day, counted once and as drifted", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 1, "1.0.0");
    const bad = await release(world, "1.0.0");
    const good = await release(world, "1.1.0");
    fleet.beat(replica);
    const { rolloutId } = await recall(replica, bad, good);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    for (let time = 1; time <= 3; time++) {
      await expect.poll(() => versionsOffered(replica, fleet)).toEqual(["1.1.0"]);
      await prove(world, replica, fleet, await fleet.offers(replica));
      const out = await until(replica, rolloutId, ({ rings }) =>
        expect(rings[0]?.counters).toMatchObject({ offered: 1, succeeded: 1, inProgress: 0 }),
      );
      expect(ringOf(out, "all").counters.began).toBe(1);
      world.clock.advance(10_000);
      fleet.reboot(device, "1.0.0");
      fleet.beat(replica);
      await replica.states.flush();
    }
    await until(replica, rolloutId, ({ rings, alert }) => {
      expect(rings[0]?.counters.drifted).toBe(1);
      expect(alert).toContain("drift");
    });
    expect(await fleet.check(replica, device)).toMatchObject({ kind: "none", reason: "ALREADY_TRIED" });
    const explained = await replica.engine.explainer.explain(rolloutId, device.id);
    expect(explained.message).toContain("3 times in a day");
    await expectExactCounters(world);
    world.clock.advance(day);
    expect(await versionsOffered(replica, fleet)).toEqual(["1.1.0"]);
    await expectExactCounters(world);
  });

  it("goes before all rollouts, and gives devices that it cannot serve to the others", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 2, "1.0.0", 3);
    const first = await release(world, "1.0.0");
    const low = await release(world, "1.1.0", { securityCounter: 2 });
    const next = await release(world, "2.0.0", { securityCounter: 3 });
    fleet.beat(replica);
    await recall(replica, first, low);
    // Its signed counter lies below theirs: nobody leaves by it.
    expect(await fleet.check(replica, fleet.devices[0] as SimulatedDevice)).toMatchObject({
      reason: "SECURITY_COUNTER",
    });
    await run(replica, wanted(next, { rings: all, policy: { priority: 100, allowDowngrade: true } }));
    expect(await versionsOffered(replica, fleet)).toEqual(["2.0.0", "2.0.0"]);
    const better = await release(world, "1.2.0", { securityCounter: 3 });
    await recall(replica, first, better);
    expect(await versionsOffered(replica, fleet)).toEqual(["1.2.0", "1.2.0"]);
    await expectExactCounters(world);
  });

  it("pauses its way out where that fails too many devices, and takes nobody back", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const fleet = await Fleet.enrol(world, 6);
    const { rolloutId } = await recall(replica, await release(world, "1.0.0"), await release(world, "1.1.0"));
    for (const [{ id }, update] of await fleet.offers(replica)) {
      await report(replica, id, update.id, "INSTALLING");
      await report(replica, id, update.id, "FAILED", "NO_SPACE");
    }
    const out = await until(replica, rolloutId, ({ state }) => expect(state).toBe("PAUSED"));
    expect(out.rollback.total).toBe(0);
    await expect(catalog.rollback({ id: rolloutId, ...by })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    await expect(catalog.promote({ id: rolloutId, ...by })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    await catalog.resume({ id: rolloutId, ...by });
    expect(await versionsOffered(replica, fleet)).toHaveLength(6);
    await expectExactCounters(world);
  });

  it("is nothing to go back to: the newest other version below takes its place", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const { fleet, old, firmwareId, rollout } = await bad(world, replica, 2);
    const older = await release(world, "0.9.0");
    await release(world, "0.8.0");
    const newer = await release(world, "1.2.0");
    await recall(replica, old, newer);
    await expect(catalog.rollback({ id: rollout.id, ...by, firmwareId: old })).rejects.toMatchObject({
      reason: "ROLLBACK_TARGET_REFUSED",
    });
    await catalog.rollback({ id: rollout.id, ...by });
    expect((await fleet.offers(replica)).map(([, { action, firmwareId: id }]) => [action, id])).toEqual([
      ["ROLLBACK", older],
      ["ROLLBACK", older],
    ]);
    // The one that they go back to is recalled as well, before they began.
    const { effect } = await recall(replica, older, newer);
    expect(effect).toMatchObject({ rollbacks: 2, blocked: 0 });
    expect(await versionsOffered(replica, fleet)).toEqual(["0.8.0", "0.8.0"]);
    expect(firmwareId).not.toBe(older);
    await expectExactCounters(world);
  });

  it("blocks a rollback with words where no other version can take its place", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const { fleet, old, rollout } = await bad(world, replica, 1);
    await recall(replica, old, await release(world, "1.2.0"));
    await catalog.rollback({ id: rollout.id, ...by });
    const [update] = await catalog.listDeviceUpdates(
      { rolloutId: rollout.id, states: ["FAILED"] },
      { limit: 1 },
    );
    expect(update).toMatchObject({
      failureReason: "ROLLBACK_TARGET_RECALLED",
      failureMessage: "1.0.0 is recalled, and no other version can take its place",
    });
    expect(await versionsOffered(replica, fleet)).toEqual([]);
    await expectExactCounters(world);
  });

  it("stands in the way as a mandatory step", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const fleet = await Fleet.enrol(world, 1);
    const step = await release(world, "1.1.0");
    await world.database.adminPool.query("UPDATE firmware_updates SET mandatory_step = true WHERE id = $1", [
      step,
    ]);
    await run(replica, wanted(await release(world, "1.2.0"), { rings: all }));
    await recall(replica, step, await release(world, "1.3.0"));
    expect(await fleet.check(replica, fleet.devices[0] as SimulatedDevice)).toMatchObject({
      kind: "none",
      reason: "STEP_MISSING",
      message: "1.1.0 must be installed before 1.2.0, but 1.1.0 is recalled: it burns",
    });
  });

  it("leads on where its replacement is recalled, and never in a circle", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const [a, b, c] = [
      await release(world, "1.0.0"),
      await release(world, "1.1.0"),
      await release(world, "1.2.0"),
    ];
    const fleet = await Fleet.enrol(world, 1);
    const first = await recall(replica, a, b);
    await recall(replica, b, c);
    const [now] = await readRecalls(replica.database.pool, { firmwareIds: [a] });
    expect(now).toMatchObject({ replacementVersion: "1.2.0" });
    expect((await catalog.get(first.rolloutId)).state).toBe("ABORTED");
    expect(await versionsOffered(replica, fleet)).toEqual(["1.2.0"]);
    await expect(recall(replica, c, a)).rejects.toMatchObject({ reason: "FIRMWARE_RECALLED" });
    await expect(recall(replica, c, c)).rejects.toMatchObject({
      reason: "INVALID_REQUEST",
      fields: [{ field: "replacement_id" }],
    });
  });

  it("is reinstated: its way out ends, and its rollouts can be resumed", async () => {
    await using scene = await openReplica();
    const { world, replica, catalog } = scene;
    const fleet = await Fleet.enrol(world, 1, "0.9.0");
    const old = await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const rollout = await run(replica, wanted(firmwareId, { rings: all }));
    const { rolloutId } = await recall(replica, firmwareId, old);
    expect(await recall(replica, firmwareId, old)).toMatchObject({ rolloutId, effect: { unchanged: true } });
    // What is so already is other than asked for where the policy is another one, or the way out was aborted.
    const consent = { name: { firmwareId }, replacementId: old, policy: { requireUserConsent: true } };
    const asked = await replica.engine.recalls.recall(consent, by);
    expect(asked.effect.unchanged).toBe(false);
    expect(await replica.engine.recalls.recall(consent, by)).toMatchObject({ effect: { unchanged: true } });
    expect(await recall(replica, firmwareId, old)).toMatchObject({ effect: { unchanged: true } });
    await catalog.abort({ id: asked.rolloutId, ...by });
    const anew = await recall(replica, firmwareId, old);
    expect(anew.effect.unchanged).toBe(false);
    const effect = await replica.engine.recalls.reinstate({ firmwareId }, by);
    expect(effect).toMatchObject({
      unchanged: false,
      message: "Version 1.1.0 of os is reinstated; 1 paused of its rollouts can be resumed.",
    });
    for (const id of [rolloutId, asked.rolloutId, anew.rolloutId]) {
      expect((await catalog.get(id)).state).toBe("ABORTED");
    }
    expect(await catalog.get(rollout.id)).toMatchObject({ state: "PAUSED", alert: "" });
    await catalog.resume({ id: rollout.id, ...by });
    expect(await versionsOffered(replica, fleet)).toEqual(["1.1.0"]);
    expect(await replica.engine.recalls.reinstate({ firmwareId }, by)).toMatchObject({ unchanged: true });
  });

  it("is seen before: who runs it, and who cannot leave", async () => {
    await using scene = await openReplica();
    const { world, replica } = scene;
    const signal = AbortSignal.timeout(30_000);
    const [a, b] = [await release(world, "1.0.0"), await release(world, "1.1.0", { securityCounter: 1 })];
    const fleet = await Fleet.enrol(world, 3);
    const held = await Fleet.enrol(world, 1, "1.0.0", 5);
    const others = await Fleet.enrol(world, 2, "1.1.0");
    for (const each of [fleet, held, others]) each.beat(replica);
    await replica.states.flush();
    const request = { name: { firmwareId: a }, replacementId: b, policy: {} };
    expect(await replica.engine.recallPreview.of(request, actor, signal)).toMatchObject({
      running: 4,
      ready: 3,
      cannotLeave: 1,
      unfit: 0,
      heldBack: [{ reason: "SECURITY_COUNTER", count: 1 }],
    });
    expect(await readRecalls(replica.database.pool, {})).toEqual([]);
    await recall(replica, a, b);
    await replica.engine.census();
    await expect.poll(async () => (await readRecalls(replica.database.pool, {}))[0]?.runningCount).toBe(4);
  });
});

describe("replicas that recall at once", () => {
  it("make one recall, and no circle", async () => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using other = await startReplica(world);
    const [a, b] = [await release(world, "1.0.0"), await release(world, "1.1.0")];
    const circle = await Promise.allSettled([recall(one, a, b), recall(other, b, a)]);
    expect(circle.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const [version, replacement] = [await release(world, "2.0.0"), await release(world, "2.1.0")];
    const twice = await Promise.all([recall(one, version, replacement), recall(other, version, replacement)]);
    expect(twice.filter(({ effect }) => effect.unchanged)).toHaveLength(1);
    expect(new Set(twice.map(({ rolloutId }) => rolloutId)).size).toBe(1);
  });

  it("leave no offer of it open, whoever made it meanwhile", async () => {
    await using world = await createWorld();
    await using one = await startReplica(world);
    await using other = await startReplica(world);
    const fleet = await Fleet.enrol(world, 40);
    const old = await release(world, "0.9.0");
    const firmwareId = await release(world, "1.1.0");
    await run(one, wanted(firmwareId, { rings: all }));
    await other.engine.tick();
    const asked = fleet.devices.map((device, at) => fleet.check(at % 2 === 0 ? one : other, device));
    await Promise.all([recall(one, firmwareId, old), ...asked]);
    await expect
      .poll(async () => {
        const { rows } = await world.database.adminPool.query(
          "SELECT 1 FROM device_updates WHERE firmware_id = $1 AND ended_at IS NULL",
          [firmwareId],
        );
        return rows.length;
      })
      .toBe(0);
    await expectExactCounters(world);
  });
});
