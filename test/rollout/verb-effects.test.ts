import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  actor,
  Fleet,
  gate,
  minute,
  openReplica,
  type Replica,
  release,
  report,
  run,
  until,
  type World,
  wanted,
} from "./rollout-fixture.ts";

const guarded = { ...gate, manual: true, requireApproval: true };
const oneRing = [{ name: "all", percent: 100, gate: { ...gate, manual: true } }];
const other = "operator:somebody-else";
const call = (id: string) => ({ id, actor, reason: "because" });
const nothingToDo = { code: "failed_precondition", reason: "NOTHING_TO_DO" };

/** A rollout whose devices run its version. */
async function succeeded(world: World, replica: Replica, size: number) {
  await release(world, "1.0.0");
  const fleet = await Fleet.enrol(world, size);
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
  await fleet.take(replica, await fleet.offers(replica));
  await until(replica, id, () => {
    for (const device of fleet.devices)
      expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
  });
  world.clock.advance(6 * minute);
  fleet.beat(replica);
  await until(replica, id, () => expect(replica.engine.tracker.size).toBe(0));
  return { fleet, id };
}

describe("a verb says what it changed, and its repeat that nothing did", () => {
  it("start, promote, pause, resume and abort", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const fleet = await Fleet.enrol(world, 40);
    const { id } = await catalog.create(wanted(await release(world, "1.1.0")), { actor });
    const unchanged = async (verb: () => Promise<{ effect: object; revision: number }>) => {
      const { revision } = await catalog.get(id);
      const again = await verb();
      expect(again).toMatchObject({ revision, effect: { unchanged: true, openedRings: [], cancelled: 0 } });
    };
    expect((await catalog.start(call(id))).effect).toMatchObject({
      unchanged: false,
      openedRings: ["canary"],
      message: "The rollout is running; ring canary opened.",
    });
    await unchanged(() => catalog.start(call(id)));
    expect((await catalog.promote({ ...call(id), ring: "broad" })).effect).toMatchObject({
      openedRings: ["early", "broad"],
      message: "The rollout is running; rings early and broad opened.",
    });
    await unchanged(() => catalog.promote({ ...call(id), ring: "early" }));
    const [[installs, update] = [], ...downloads] = await fleet.offers(replica);
    if (installs === undefined || update === undefined) throw new Error("no offers");
    await report(replica, installs.id, update.id, "INSTALLING");
    expect((await catalog.pause(call(id))).effect).toMatchObject({
      unchanged: false,
      message: `The rollout is paused (because); ${downloads.length + 1} devices go on updating.`,
    });
    await unchanged(() => catalog.pause(call(id)));
    expect((await catalog.pause(call(id))).effect.message).toBe(
      "Nothing changed: the rollout is paused (because); rings canary, early and broad opened before.",
    );
    expect((await catalog.resume(call(id))).effect).toMatchObject({ unchanged: false, openedRings: [] });
    await unchanged(() => catalog.resume(call(id)));
    expect((await catalog.abort(call(id))).effect).toMatchObject({
      cancelled: downloads.length,
      message: `The rollout is aborted; 1 device goes on updating; ${downloads.length} updates are cancelled.`,
    });
    await unchanged(() => catalog.abort(call(id)));
  });

  it("update of names and metadata", async () => {
    await using test = await openReplica();
    const { replica, world } = test;
    const fleet = await Fleet.enrol(world, 1);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const [[device, update] = []] = await fleet.offers(replica);
    const { records } = replica.engine;
    const change = {
      name: "spring",
      metadata: { ticket: "7" },
      rings: [{ name: "all", metadata: { lot: "b" } }],
    };
    const first = await records.update(id, change, { actor });
    expect(first).toMatchObject({ unchanged: false, rollout: { name: "spring", metadata: { ticket: "7" } } });
    const again = await records.update(id, change, { actor });
    expect(again).toMatchObject({ unchanged: true, rollout: { revision: first.rollout.revision } });
    const key = { deviceId: device?.id ?? "", id: update?.id ?? "" };
    const label = () => records.updateDeviceUpdate(key, { order: "12" }, { actor });
    expect((await label()).unchanged).toBe(false);
    expect(await label()).toMatchObject({ unchanged: true, update: { metadata: { order: "12" } } });
    const events = await replica.audit.list({ resourceId: id }, { limit: 20 });
    const updates = events.filter(({ action }) => action.startsWith("rollout.update"));
    expect(updates.map(({ action }) => action)).toEqual(["rollout.update_device_update", "rollout.update"]);
  });

  it("approve, which is refused where nothing needs it", async () => {
    await using test = await openReplica();
    const { catalog, world } = test;
    const rings = [
      { name: "first", percent: 10, gate },
      { name: "second", percent: 50, gate },
      { name: "third", percent: 100, gate: guarded },
    ];
    const { id } = await catalog.create(wanted(await release(world, "1.1.0"), { rings }), { actor });
    await catalog.start(call(id));
    const approve = (ring?: string) => catalog.approve({ ...call(id), actor: other, ring });
    await expect(approve("second")).rejects.toMatchObject({
      ...nothingToDo,
      message: "ring second needs no approval; these do: third",
    });
    // By default the next one that needs it, whether or not it is the next one to open.
    expect((await approve()).effect).toMatchObject({ unchanged: false, approvedRing: "third" });
    const again = await approve("third");
    expect(again.effect).toMatchObject({ unchanged: true, approvedRing: "" });
    expect(again.effect.message).toContain(`ring third was approved by ${other}`);
    const plain = await catalog.create(wanted(await release(world, "1.2.0")), { actor });
    await catalog.start(call(plain.id));
    await expect(catalog.approve({ ...call(plain.id), actor: other })).rejects.toMatchObject({
      ...nothingToDo,
      message: "no ring of the rollout needs an approval",
    });
  });

  it("rollback, which is refused while nobody is at the update", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const idle = await run(
      replica,
      wanted(await release(world, "3.0.0"), { targeting: { groups: ["none"] } }),
    );
    await expect(catalog.rollback(call(idle.id))).rejects.toMatchObject({
      ...nothingToDo,
      message:
        "no device of the rollout has begun to install 3.0.0; pause the rollout to make no more offers, or abort it to stop it for good",
    });
    await expect(catalog.rollbackRing({ ...call(idle.id), ring: "canary" })).rejects.toMatchObject(
      nothingToDo,
    );
    expect(await catalog.get(idle.id)).toMatchObject({ state: "RUNNING", revision: idle.revision });

    const { fleet, id } = await succeeded(world, replica, 3);
    const late = await Fleet.enrol(world, 2);
    late.beat(replica);
    expect(await late.offers(replica)).toHaveLength(2);
    const rolling = await catalog.rollback(call(id));
    expect(rolling.effect).toMatchObject({
      unchanged: false,
      rollbacks: 3,
      cancelled: 2,
      blocked: 0,
      remaining: 0,
      message: "The rollout is being rolled back; 2 updates are cancelled; 3 devices go back.",
    });
    expect((await catalog.rollback(call(id))).effect).toMatchObject({ unchanged: true, rollbacks: 0 });
    // What was told cannot be told otherwise.
    const firmwareId = await release(world, "0.9.0");
    await expect(catalog.rollback({ ...call(id), firmwareId })).rejects.toMatchObject({
      reason: "ROLLBACK_TARGET_REFUSED",
    });
    await fleet.take(replica, await fleet.offers(replica));
    await until(replica, id, ({ state }) => expect(state).toBe("ROLLED_BACK"));
    expect((await catalog.rollback(call(id))).effect.message).toBe(
      "Nothing changed: the rollout is rolled back; ring all opened before.",
    );
    await expect(catalog.rollback({ ...call(id), firmwareId })).rejects.toMatchObject({
      reason: "ROLLBACK_TARGET_REFUSED",
    });
  });

  it("rollbackRing, also when it comes again", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const { id } = await succeeded(world, replica, 2);
    const first = await catalog.rollbackRing({ ...call(id), ring: "all" });
    expect(first).toMatchObject({ state: "PAUSED", effect: { rollbacks: 2, unchanged: false } });
    const again = await catalog.rollbackRing({ ...call(id), ring: "all" });
    expect(again).toMatchObject({ revision: first.revision, effect: { rollbacks: 0, unchanged: true } });
  });

  it("says that devices must not go back", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const { id } = await succeeded(world, replica, 2);
    await world.database.adminPool.query(
      "UPDATE firmware_updates SET state = 'UPLOADED' WHERE version = '1.0.0'",
    );
    expect((await catalog.rollback(call(id))).effect).toMatchObject({
      rollbacks: 0,
      blocked: 2,
      message: "The rollout is being rolled back; 2 devices must not go back.",
    });
  });
});

describe("a verb for one device", () => {
  it("rolls back what was installed, cancels what was not, and refuses the rest with what would have to be true", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const { fleet, id } = await succeeded(world, replica, 2);
    const late = await Fleet.enrol(world, 2);
    late.beat(replica);
    const [stranger] = (await Fleet.enrol(world, 1)).devices;
    const [offered, fails] = await late.offers(replica);
    const [taken, other] = fleet.devices;
    if (!stranger || !offered || !fails || !taken || !other) throw new Error("no device");
    const back = (deviceId: string) => catalog.rollbackDevice({ ...call(id), deviceId });
    await expect(back(randomUUID())).rejects.toMatchObject({ reason: "NOT_FOUND" });
    await expect(back(stranger.id)).rejects.toMatchObject({
      ...nothingToDo,
      message: "the rollout never offered 1.1.0 to the device",
    });
    expect((await back(offered[0].id)).effect).toMatchObject({ cancelled: 1, rollbacks: 0 });
    expect((await back(offered[0].id)).effect).toMatchObject({
      unchanged: true,
      message: "Nothing changed: its update was cancelled before it installed 1.1.0.",
    });
    await report(replica, fails[0].id, fails[1].id, "FAILED", "DOWNLOAD_FAILED");
    await expect(back(fails[0].id)).rejects.toMatchObject({
      ...nothingToDo,
      message: "the device never installed 1.1.0: its update is FAILED",
    });
    expect((await back(taken.id)).effect).toMatchObject({ rollbacks: 1, message: "1 device goes back." });
    expect((await back(taken.id)).effect).toMatchObject({
      unchanged: true,
      message: "Nothing changed: the device goes back to 1.0.0 already, and is OFFERED.",
    });
    // Nothing is written of a way back that there is not: it can be asked for again when there is one.
    const release = (state: string) =>
      world.database.adminPool.query("UPDATE firmware_updates SET state = $1 WHERE version = '1.0.0'", [
        state,
      ]);
    await release("UPLOADED");
    await expect(back(other.id)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "ROLLBACK_TARGET_MISSING",
      message: "the device cannot go back to 1.0.0: the catalogue has no released version 1.0.0",
    });
    expect(await catalog.get(id)).toMatchObject({ alert: "", rollback: { total: 1, blocked: 0 } });
    await release("RELEASED");
    expect((await back(other.id)).effect).toMatchObject({ rollbacks: 1 });
  });

  it("grants a further try once, and refuses one that is not needed", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const fleet = await Fleet.enrol(world, 2);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing }));
    const [[device, update] = [], [fine] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined || fine === undefined) throw new Error("no offers");
    const retry = (deviceId: string) => catalog.retryDevice({ ...call(id), deviceId });
    await expect(retry(fine.id)).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
      message:
        "cannot retry the device: its update to 1.1.0 is OFFERED, and only an update that FAILED or TIMED_OUT, or whose device drifted, can be tried again; with reinstall, one that SUCCEEDED",
    });
    await report(replica, device.id, update.id, "FAILED", "INSTALL_FAILED");
    expect((await retry(device.id)).effect).toMatchObject({
      unchanged: false,
      retries: 1,
      message: "1 device may try again.",
    });
    const again = await retry(device.id);
    expect(again).toMatchObject({ id: update.id, effect: { unchanged: true, retries: 0 } });
    const events = await replica.audit.list({ resourceId: id, action: "rollout.retry_device" }, { limit: 9 });
    expect(events).toHaveLength(1);
  });
});

describe("deploying what runs already", () => {
  it("takes it on as it is, and says so", async () => {
    await using test = await openReplica();
    const { catalog, world } = test;
    const plan = wanted(await release(world, "1.1.0"), {
      rings: [],
      targeting: { groups: ["b", "a"] },
      policy: { maxInProgress: 7 },
    });
    const requestId = randomUUID();
    const first = await catalog.deploy(plan, undefined, { actor, requestId });
    expect(first.effect).toMatchObject({ unchanged: false, openedRings: ["canary"] });
    const again = await catalog.deploy(plan, undefined, { actor, requestId });
    expect(again).toMatchObject({ id: first.id, effect: { unchanged: true } });
    expect((await catalog.deploy(plan, "canary", { actor })).effect).toMatchObject({ unchanged: true });
    const same = { ...plan, targeting: { groups: ["a", "b"] } };
    expect((await catalog.deploy(same, "early", { actor })).effect).toMatchObject({ openedRings: ["early"] });
    const unsaid = { ...plan, targeting: {}, policy: {} };
    const further = await catalog.deploy(unsaid, "broad", { actor });
    expect(further).toMatchObject({ id: first.id, effect: { openedRings: ["broad"] } });
  });

  const rings = [{ name: "all", percent: 100 }];
  it.each([
    ["targeting", { targeting: { groups: ["beta"] } }, "targeting.groups"],
    ["a share", { targeting: { percent: 50 } }, "targeting.percent"],
    ["a filter", { targeting: { filter: "battery_percent > 20" } }, "targeting.filter"],
    ["policy", { policy: { maxInProgress: 3, priority: 5 } }, "policy.max_in_progress,policy.priority"],
    ["a start time", { policy: { startAt: new Date("2030-01-01") } }, "policy.start_time"],
    ["rings", { rings }, "rings"],
  ])("refuses %s that the rollout has not, and opens nothing", async (_, change, fields) => {
    await using test = await openReplica();
    const { catalog, world } = test;
    const plan = wanted(await release(world, "1.1.0"), { rings: [], policy: {} });
    const running = await catalog.deploy(plan, undefined, { actor });
    await expect(catalog.deploy({ ...plan, ...change }, "production", { actor })).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "ROLLOUT_DIFFERS",
      metadata: { rollout_id: running.id, fields },
    });
    expect(await catalog.get(running.id)).toMatchObject({ revision: running.revision });
  });

  it("takes on the one of several that is as wanted", async () => {
    await using test = await openReplica();
    const { catalog, world, replica } = test;
    const firmwareId = await release(world, "1.1.0");
    const of = (group: string) =>
      wanted(firmwareId, { rings: [], policy: {}, targeting: { groups: [group] } });
    const alpha = await run(replica, of("alpha"));
    await run(replica, of("beta"));
    expect(await catalog.deploy(of("alpha"), "early", { actor })).toMatchObject({ id: alpha.id });
  });

  it("refuses a ring that has to wait for a start time or an approval", async () => {
    await using test = await openReplica();
    const { catalog, world } = test;
    const firmwareId = await release(world, "1.1.0");
    const startAt = new Date(world.clock.now().getTime() + 60 * minute);
    const plan = wanted(firmwareId, { rings: [], policy: { startAt } });
    const refusal = { reason: "ILLEGAL_TRANSITION", fields: [{ field: "ring" }] };
    await expect(catalog.deploy(plan, "production", { actor })).rejects.toMatchObject(refusal);
    expect(await catalog.list({ states: [] }, { limit: 9 })).toEqual([]);
    expect(await catalog.deploy(plan, undefined, { actor })).toMatchObject({ state: "SCHEDULED" });
    await expect(catalog.deploy(plan, "production", { actor })).rejects.toMatchObject(refusal);
    expect((await catalog.deploy(plan, "canary", { actor })).effect).toMatchObject({ unchanged: true });
  });
});
