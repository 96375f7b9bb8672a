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

const gate = { minSample: 1, minSuccessPercent: 0, soakMs: minute, manual: true };
const rings = [{ name: "all", percent: 100, gate }];

describe("a mandatory step", () => {
  it("leaves the counters when it succeeded, and a rollback goes back to before it", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const { catalog, tracker } = replica.engine;
    await release(world, "1.0.0");
    const stepId = await release(world, "1.5.0");
    const firmwareId = await release(world, "2.0.0");
    await world.database.adminPool.query("UPDATE firmware_updates SET mandatory_step = true WHERE id = $1", [
      stepId,
    ]);
    const fleet = await Fleet.enrol(world, 1);
    await fleet.enrolledWithOneKey(fleet.devices);
    const { id } = await run(replica, wanted(firmwareId, { rings }));
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const counters = async () => ringOf(await catalog.get(id), "all").counters;
    for (const [version, action] of [
      ["1.5.0", "STEP"],
      ["2.0.0", "INSTALL"],
    ] as const) {
      const offers = await fleet.offers(replica);
      expect(offers[0]?.[1]).toMatchObject({ toVersion: version, action });
      expect(await counters()).toMatchObject({ offered: 1, inProgress: 1, succeeded: 0 });
      await fleet.take(replica, offers);
      await until(replica, id, () => expect(tracker.get(device.id)?.state).toBe("VERIFYING"));
      world.clock.advance(6 * minute);
      fleet.beat(replica);
      await until(replica, id, () => expect(tracker.get(device.id)).toBeUndefined());
      const installed = action === "INSTALL" ? 1 : 0;
      expect(await counters()).toMatchObject({ offered: installed, inProgress: 0, succeeded: installed });
      await expectExactCounters(world);
    }
    await catalog.rollback({ id, actor, reason: "" });
    const [back] = await catalog.listDeviceUpdates(
      { rolloutId: id, states: [], action: "ROLLBACK" },
      { limit: 2 },
    );
    expect(back).toMatchObject({ fromVersion: "2.0.0", toVersion: "1.0.0", state: "OFFERED" });
    await expectExactCounters(world);
  });
});
