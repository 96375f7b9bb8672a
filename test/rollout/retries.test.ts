import { describe, expect, it } from "vitest";
import {
  actor,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  release,
  report,
  ringOf,
  run,
  until,
  wanted,
} from "./rollout-fixture.ts";

const gate = { minSample: 1, minSuccessPercent: 0, soakMs: minute, manual: true };
const rings = [{ name: "all", percent: 100, gate }];

async function open(
  size: number,
  policy: { maxRetries?: number; failureThresholdPercent?: number; maxInProgress?: number } = {},
) {
  await using cleanup = new AsyncDisposableStack();
  const { world, replica } = cleanup.use(await openReplica());
  await release(world, "1.0.0");
  const fleet = await Fleet.enrol(world, size);
  const rollout = wanted(await release(world, "1.1.0"), {
    rings,
    policy: { pauseOnFailure: false, retryBackoffMs: 10 * minute, ...policy },
  });
  const { id } = await run(replica, rollout);
  const owned = cleanup.move();
  return {
    world,
    replica,
    fleet,
    id,
    catalog: replica.engine.catalog,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe("tries after a failure", () => {
  it("wait longer each time, and only the last failure counts", async () => {
    // The only device of the fleet may fail without stopping the rollout.
    await using test = await open(1, { maxRetries: 2, failureThresholdPercent: 100 });
    const { world, replica, fleet, id } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    const waits: number[] = [];
    const ids = new Set<string>();
    for (let attempt = 1; attempt <= 3; attempt++) {
      const [offer] = await fleet.offers(replica);
      if (offer === undefined) throw new Error(`no offer of try ${attempt}`);
      ids.add(offer[1].id);
      await report(replica, device.id, offer[1].id, "FAILED", "DOWNLOAD_FAILED");
      await expectExactCounters(world);
      const { counters } = ringOf(await test.catalog.get(id), "all");
      expect(counters).toMatchObject({
        offered: 1,
        inProgress: attempt < 3 ? 1 : 0,
        failed: attempt < 3 ? 0 : 1,
      });
      if (attempt === 3) break;
      // Late word of the try before does not touch the one that waits.
      expect(await report(replica, device.id, offer[1].id, "DOWNLOADING")).toBe("FAILED");
      await until(replica, id, async () =>
        expect(await fleet.check(replica, device)).toMatchObject({ reason: "BACKING_OFF" }),
      );
      const notBeforeMs = replica.engine.tracker.get(device.id)?.notBeforeMs ?? 0;
      waits.push(notBeforeMs - world.clock.now().getTime());
      world.clock.advance(waits.at(-1) ?? 0);
    }
    expect(ids.size).toBe(3);
    expect(waits[0]).toBeGreaterThanOrEqual(7.5 * minute);
    expect(waits[0]).toBeLessThanOrEqual(12.5 * minute);
    expect(waits[1]).toBeGreaterThanOrEqual(15 * minute);
    expect(waits[1]).toBeLessThanOrEqual(25 * minute);
    expect(await fleet.check(replica, device)).toMatchObject({ reason: "ALREADY_TRIED" });
    expect(await test.catalog.listFailureReasons(id)).toEqual([{ name: "DOWNLOAD_FAILED", count: 1 }]);
    const tries = await test.catalog.listDeviceUpdates({ rolloutId: id, states: [] }, { limit: 10 });
    expect(tries.map(({ attempt }) => attempt)).toEqual([3, 2, 1]);
  });

  it("are given by an operator to a device that failed for good", async () => {
    await using test = await open(2);
    const { world, replica, fleet, id, catalog } = test;
    const offers = await fleet.offers(replica);
    const [[device, update] = [], [well, good] = []] = offers;
    if (!device || !update || !well || !good) throw new Error("no offers");
    await expect(catalog.retryDevice({ id, deviceId: device.id, actor, reason: "" })).rejects.toMatchObject({
      reason: "ILLEGAL_TRANSITION",
    });
    await report(replica, device.id, update.id, "FAILED", "NO_SPACE");
    const failed = await catalog.retryDevice({ id, deviceId: device.id, actor, reason: "made room" });
    expect(failed).toMatchObject({ id: update.id, state: "FAILED", retryMs: world.clock.now().getTime() });
    await expectExactCounters(world);
    const [[, second] = []] = await fleet.offers(replica, [device]);
    expect(second?.id).not.toBe(update.id);
    if (second === undefined) throw new Error("no second offer");
    await fleet.take(replica, [
      [device, second],
      [well, good],
    ]);
    await until(replica, id, () => {
      for (const each of fleet.devices) expect(replica.engine.tracker.get(each.id)?.state).toBe("VERIFYING");
    });
    world.clock.advance(6 * minute);
    fleet.beat(replica);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(2));
    await expectExactCounters(world);
  });

  it("take a place only while they go on: a device that waits leaves its own to another", async () => {
    await using test = await open(2, { maxRetries: 3, maxInProgress: 1, failureThresholdPercent: 100 });
    const { world, replica, fleet, id } = test;
    const [first, second] = fleet.devices;
    if (first === undefined || second === undefined) throw new Error("no devices");
    const reasonOf = async (device: typeof first): Promise<unknown> => {
      const [answer, explained] = await Promise.all([
        fleet.check(replica, device),
        replica.engine.explainer.explain(id, device.id),
      ]);
      const told = answer.kind === "none" ? answer.reason : undefined;
      expect(explained.reason).toBe(told);
      return told;
    };
    const [[, one] = []] = await fleet.offers(replica, [first]);
    if (one === undefined) throw new Error("no offer");
    expect(await reasonOf(second)).toBe("TOO_MANY_IN_PROGRESS");
    await report(replica, first.id, one.id, "FAILED", "DOWNLOAD_FAILED");
    // At once, and not that it is in its own way.
    expect(await reasonOf(first)).toBe("BACKING_OFF");
    const [[, two] = []] = await fleet.offers(replica, [second]);
    if (two === undefined) throw new Error("no offer for the second");
    world.clock.advance(15 * minute);
    expect(await reasonOf(first)).toBe("TOO_MANY_IN_PROGRESS");
    await report(replica, second.id, two.id, "FAILED", "DOWNLOAD_FAILED");
    expect(await reasonOf(first)).toBeUndefined();
    expect(replica.engine.tracker.inProgress(id)).toBe(1);
    world.clock.advance(15 * minute);
    expect(await reasonOf(second)).toBe("TOO_MANY_IN_PROGRESS");
    await expectExactCounters(world);
  });

  it("end with the rollout: what waits is cancelled", async () => {
    await using test = await open(1, { maxRetries: 3 });
    const { world, replica, fleet, id, catalog } = test;
    const [[device, update] = []] = await fleet.offers(replica);
    if (!device || !update) throw new Error("no offer");
    await report(replica, device.id, update.id, "FAILED", "DOWNLOAD_FAILED");
    const aborted = await catalog.abort({ id, actor, reason: "" });
    expect(ringOf(aborted, "all").counters).toMatchObject({
      offered: 1,
      inProgress: 0,
      cancelled: 1,
      failed: 0,
    });
    await expectExactCounters(world);
  });
});
