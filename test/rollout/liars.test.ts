import { describe, expect, it } from "vitest";
import {
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

const gate = { minSample: 5, minSuccessPercent: 90, soakMs: minute, manual: false };
const rings = [{ name: "all", percent: 100, gate }];

describe("devices that lie", () => {
  it("pause a rollout at most, if all of them were enrolled with one key and the others fare well", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await release(world, "1.0.0");
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 30);
    const liars = fleet.devices.slice(10);
    await fleet.enrolledWithOneKey(fleet.devices.slice(0, 10));
    const foul = await fleet.enrolledWithOneKey(liars);
    const { id } = await run(replica, wanted(firmwareId, { rings }));
    const offers = await fleet.offers(replica);
    expect(offers).toHaveLength(30);
    const foulIds = new Set(liars.map((device) => device.id));
    for (const [device, update] of offers) {
      if (foulIds.has(device.id)) await report(replica, device.id, update.id, "FAILED", "MADE_UP");
    }
    const paused = await until(replica, id, (rollout) => expect(rollout.state).toBe("PAUSED"));
    expect(paused.stateReason).toContain(`were enrolled with key ${foul}`);
    expect(replica.rolledBackByRule.count).toBe(0);
    await expectExactCounters(world);
  });

  it("with one identity have one vote", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await using second = await startReplica(world);
    const firmwareId = await release(world, "1.1.0");
    const fleet = await Fleet.enrol(world, 8);
    const { id } = await run(replica, wanted(firmwareId, { rings }));
    await until(second, id, () => expect(second.engine.index.get(id)).toBeDefined());
    const [clone] = fleet.devices;
    if (clone === undefined) throw new Error("no device");
    // Two agents with the same identity ask and report at two replicas at the same time.
    const answers = await Promise.all(
      [replica, second, replica, second].map((each) => fleet.check(each, clone)),
    );
    const ids = new Set(answers.map((answer) => (answer.kind === "offer" ? answer.update.id : "")));
    expect(ids.size).toBe(1);
    const [updateId = ""] = ids;
    await Promise.all(
      [replica, second, replica, second].map((each) => report(each, clone.id, updateId, "FAILED", "MADE_UP")),
    );
    expect(ringOf(await replica.engine.catalog.get(id), "all").counters).toMatchObject({
      offered: 1,
      failed: 1,
    });
    expect(await fleet.check(second, clone)).toMatchObject({ kind: "none" });
    await expectExactCounters(world);
  });
});
