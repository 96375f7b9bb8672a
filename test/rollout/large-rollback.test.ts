import { describe, expect, it } from "vitest";
import {
  actor,
  createWorld,
  expectExactCounters,
  Fleet,
  release,
  ringOf,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

/** Twenty-five steps of a rollback. */
const devices = 50_000;
const rings = [{ name: "all", percent: 100 }];

describe("rolling back very many devices", () => {
  it("goes step by step, shared by two replicas, and reaches everyone once", async () => {
    await using world = await createWorld();
    await using first = await startReplica(world);
    const old = await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, devices);
    const { id } = await first.engine.catalog.create(wanted(firmwareId, { rings }), { actor });
    const started = await first.engine.catalog.start({ id, actor, reason: "" });
    // As if each had been offered the update and had succeeded, but for a tenth that is updating.
    await world.database.adminPool.query(
      `INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
         from_firmware_id, to_version, offered_at, installing_at, deadline_at, ended_at)
       SELECT d.id, d.id, $1, $2, $3, 'INSTALL', CASE WHEN n % 10 = 0 THEN 'INSTALLING' ELSE 'SUCCEEDED' END, '1.0.0',
         $4, '1.1.0', now(), now(), now() + interval '1 day', CASE WHEN n % 10 > 0 THEN now() END
       FROM (SELECT id, row_number() OVER () AS n FROM devices) d`,
      [id, ringOf(started, "all").id, firmwareId, old],
    );
    await expectExactCounters(world);
    await using second = await startReplica(world);
    const rolling = await first.engine.catalog.rollback({ id, actor, reason: "" });
    expect(rolling.state).toBe("ROLLING_BACK");
    expect(rolling.rollback.total).toBeLessThan(devices);
    // The answer tells of those that the first batch told, and that the others follow.
    const told = rolling.effect.rollbacks;
    expect(told).toBe(rolling.rollback.total);
    expect(rolling.effect.remaining).toBe(devices - told);
    await expect
      .poll(async () => (await second.engine.catalog.get(id)).rollbackPlan, {
        timeout: 240_000,
        interval: 200,
      })
      .toBeUndefined();
    const all = await first.engine.catalog.get(id);
    expect(all).toMatchObject({
      state: "ROLLING_BACK",
      rollback: { total: devices, completed: 0, failed: 0 },
    });
    await expectExactCounters(world);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    await until(second, id, () => expect(second.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
  });
});
