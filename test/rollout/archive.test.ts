import { describe, expect, it } from "vitest";
import { RolloutFirmwareUse } from "../../src/rollout/rollout-observers.ts";
import {
  actor,
  expectExactCounters,
  Fleet,
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

/** Putting away what is over: rollouts with their rings and device updates. */

const gate = { minSample: 1, minSuccessPercent: 0, soakMs: 0, manual: false };
const rings = [{ name: "all", percent: 100, gate }];

const call = (id: string) => ({ id, actor, reason: "done with" });

/** A rollout of 1.1.0 that every device of a fleet has taken, and that is complete. */
async function complete({ world, replica }: { world: World; replica: Replica }, devices: number) {
  const fleet = await Fleet.enrol(world, devices);
  const firmwareId = await release(world, "1.1.0");
  const { id } = await run(replica, wanted(firmwareId, { rings }));
  for (const [device, update] of await fleet.offers(replica)) {
    await report(replica, device.id, update.id, "REBOOTING");
    fleet.reboot(device, "1.1.0");
  }
  fleet.beat(replica, fleet.devices);
  world.clock.advance(6 * minute);
  await until(replica, id, (rollout) => {
    fleet.beat(replica, fleet.devices);
    expect(rollout.state).toBe("COMPLETED");
    // One device is enough for the gate; what the others prove is counted as it comes.
    expect(rollout.rings[0]?.counters.succeeded).toBe(devices);
  });
  return { fleet, firmwareId, id };
}

/** How many device updates and rings are marked as deleted, and how many are not. */
async function marks({ database }: World, rolloutId: string) {
  const { rows } = await database.adminPool.query(
    `SELECT (SELECT count(*)::int FROM device_updates WHERE rollout_id = $1 AND is_deleted) AS updates,
       (SELECT count(*)::int FROM device_updates WHERE rollout_id = $1 AND NOT is_deleted) AS others,
       (SELECT count(*)::int FROM deployment_rings WHERE rollout_id = $1 AND is_deleted) AS rings`,
    [rolloutId],
  );
  return rows[0];
}

describe("a rollout that is over", () => {
  it("is archived with its rings and device updates, makes no offers any more, and comes back as it was", async () => {
    await using test = await openReplica();
    const { world, replica, catalog } = test;
    const { records } = replica.engine;
    const { fleet, firmwareId, id } = await complete(test, 3);
    const use = new RolloutFirmwareUse();
    expect(await use.rolloutUsing(replica.database.em(), firmwareId)).toBe(id);
    const before = await catalog.get(id);

    const { rollout: archived } = await records.archive(call(id));
    expect(archived).toMatchObject({ state: "COMPLETED", archivedAt: world.clock.now() });
    expect(await records.archive(call(id))).toEqual({ rollout: archived, unchanged: true });
    await until(replica, id, async () =>
      expect(await marks(world, id)).toEqual({ updates: 3, others: 0, rings: 1 }),
    );
    const all = { states: [] };
    expect(await catalog.list(all, { limit: 10 })).toEqual([]);
    expect(await catalog.list({ ...all, showArchived: true }, { limit: 10 })).toHaveLength(1);
    const deviceId = fleet.devices[0]?.id;
    expect(await catalog.listDeviceUpdates({ ...all, deviceId }, { limit: 10 })).toEqual([]);
    expect(
      await catalog.listDeviceUpdates({ ...all, deviceId, showArchived: true }, { limit: 10 }),
    ).toMatchObject([{ rolloutId: id, archived: true, state: "SUCCEEDED" }]);
    expect(await catalog.listDeviceUpdates({ ...all, rolloutId: id }, { limit: 10 })).toHaveLength(3);
    expect(await use.rolloutUsing(replica.database.em(), firmwareId)).toBeUndefined();
    const newcomers = await Fleet.enrol(world, 2);
    expect(await newcomers.offers(replica)).toEqual([]);
    await expect(catalog.rollback(call(id))).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
      metadata: { state: "archived", allowed: "unarchive" },
    });
    await expect(replica.engine.explainer.explain(id, deviceId ?? "")).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    await expectExactCounters(world);

    const { rollout: back } = await records.unarchive(call(id));
    expect({ ...back, revision: 0, updatedAt: 0 }).toEqual({ ...before, revision: 0, updatedAt: 0 });
    await until(replica, id, async () =>
      expect(await marks(world, id)).toEqual({ updates: 0, others: 3, rings: 0 }),
    );
    expect(await newcomers.offers(replica)).toHaveLength(2);
    await expectExactCounters(world);
  });

  it("is not archived while a device is at its update", async () => {
    await using test = await openReplica();
    const { world, replica, catalog } = test;
    const { records } = replica.engine;
    const fleet = await Fleet.enrol(world, 2);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings }));
    await expect(records.archive(call(id))).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
      metadata: { verb: "archive", state: "RUNNING" },
    });
    const [[device, update] = []] = await fleet.offers(replica);
    if (device === undefined || update === undefined) throw new Error("no offer");
    await report(replica, device.id, update.id, "INSTALLING");
    await catalog.abort(call(id));
    await expect(records.archive(call(id))).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
      message: expect.stringContaining("1 of its devices are at its update"),
    });
  });

  it("has all of its device updates marked, however many", async () => {
    await using test = await openReplica();
    const { world, replica } = test;
    const { id } = await complete(test, 1);
    // What two and a half batches of others had of it, all of it over.
    await world.database.adminPool.query(
      `WITH made AS (
         INSERT INTO devices (id, serial_number, device_type, hardware_model)
         SELECT uuidv7(), 'many-' || n, 'thermostat', 't100' FROM generate_series(1, 12500) n RETURNING id)
       INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
         to_version, offered_at, ended_at)
       SELECT m.id, uuidv7(), u.rollout_id, u.ring_id, u.firmware_id, 'INSTALL', 'SUCCEEDED', '1.0.0', '1.1.0', now(), now()
       FROM made m, device_updates u WHERE u.rollout_id = $1`,
      [id],
    );
    await replica.engine.records.archive(call(id));
    await until(replica, id, async () =>
      expect(await marks(world, id)).toEqual({ updates: 12_501, others: 0, rings: 1 }),
    );
    await replica.engine.records.unarchive(call(id));
    await until(replica, id, async () =>
      expect(await marks(world, id)).toEqual({ updates: 0, others: 12_501, rings: 0 }),
    );
    await expectExactCounters(world);
  });

  it("makes no offer that was under way when it was archived", async () => {
    await using test = await openReplica();
    const { world, replica } = test;
    const { id } = await complete(test, 1);
    const late = await Fleet.enrol(world, 20);
    const [offers] = await Promise.all([
      late.offers(replica),
      replica.engine.records.archive(call(id)).catch(() => undefined),
    ]);
    const { rows } = await world.database.adminPool.query(
      `SELECT r.is_deleted AS archived,
         (SELECT count(*)::int FROM device_updates u WHERE u.rollout_id = r.id AND u.ended_at IS NULL) AS open
       FROM rollouts r WHERE r.id = $1`,
      [id],
    );
    expect(rows[0].open).toBe(rows[0].archived ? 0 : offers.length);
    await expectExactCounters(world);
  });

  it("leaves a firmware that it rolled back refused as what to go back to", async () => {
    await using test = await openReplica();
    const { replica, catalog, world } = test;
    const { id, firmwareId } = await complete(test, 1);
    const next = await release(world, "1.2.0");
    await catalog.rollback(call(id));
    // The catalogue has no 1.0.0: nothing can be taken back, and the rollback ends at once.
    await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    await replica.engine.records.archive(call(id));
    await expect(
      catalog.create(wanted(next, { policy: { rollbackFirmwareId: firmwareId } }), { actor }),
    ).rejects.toMatchObject({ reason: "ROLLBACK_TARGET_REFUSED" });
  });
});
