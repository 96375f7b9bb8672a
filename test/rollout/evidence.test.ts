import { describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import {
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

const gate = { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: true };
const oneRing = [{ name: "all", percent: 100, gate }];
const noRollback = { pauseOnFailure: false, failureThresholdPercent: 100 };

async function offered(size: number) {
  await using cleanup = new AsyncDisposableStack();
  const { world, replica } = cleanup.use(await openReplica());
  await release(world, "1.0.0");
  const firmwareId = await release(world, "1.1.0");
  const fleet = await Fleet.enrol(world, size);
  fleet.beat(replica);
  const { id } = await run(replica, wanted(firmwareId, { rings: oneRing, policy: noRollback }));
  const offers = await fleet.offers(replica);
  const owned = cleanup.move();
  const stateOf = async (deviceId: string) => {
    const [update] = await replica.engine.catalog.listDeviceUpdates({ deviceId, states: [] }, { limit: 1 });
    return update;
  };
  return {
    world,
    replica,
    fleet,
    id,
    offers,
    stateOf,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe("an update", () => {
  it("fails when its device comes back on the old version", async () => {
    await using test = await offered(1);
    const { fleet, replica, id, offers } = test;
    await fleet.take(replica, offers, "1.0.0");
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.failed).toBe(1));
    expect(await test.stateOf(fleet.devices[0]?.id ?? "")).toMatchObject({
      state: "FAILED",
      failureReason: "DEVICE_REVERTED",
    });
    await expectExactCounters(test.world);
  });

  it("fails when its device comes back on the old version while it is watched", async () => {
    await using test = await offered(1);
    const { fleet, replica, id, offers, world } = test;
    await fleet.take(replica, offers);
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
    world.clock.advance(minute);
    fleet.reboot(device, "1.0.0");
    fleet.beat(replica);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.failed).toBe(1));
    expect(await test.stateOf(device.id)).toMatchObject({ failureReason: "DEVICE_REVERTED" });
  });

  it("is not failed by old heartbeats that come late", async () => {
    await using test = await offered(1);
    const { fleet, replica, id, offers, world } = test;
    const [device] = fleet.devices;
    const [offer] = offers;
    if (device === undefined || offer === undefined) throw new Error("no device");
    for (const state of ["INSTALLING", "REBOOTING"] as const)
      await report(replica, device.id, offer[1].id, state);
    world.clock.advance(minute);
    const late = [0, 1, 2].map(() => ({
      ...fleet.record(device),
      bootId: "a boot long ago",
      uptimeMs: 1_000,
      backlog: true,
    }));
    replica.engine.observe(late);
    fleet.reboot(device, "1.1.0");
    fleet.beat(replica);
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
    expect(ringOf(await replica.engine.catalog.get(id), "all").counters.failed).toBe(0);
  });

  it("is not proven by the new version without a reboot", async () => {
    await using test = await offered(1);
    const { fleet, replica, id, offers } = test;
    const [device] = fleet.devices;
    const [offer] = offers;
    if (device === undefined || offer === undefined) throw new Error("no device");
    await report(replica, device.id, offer[1].id, "REBOOTING");
    device.version = "1.1.0";
    fleet.beat(replica);
    await replica.engine.tick();
    expect(replica.engine.tracker.get(device.id)?.state).toBe("REBOOTING");
    fleet.reboot(device);
    fleet.beat(replica);
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
  });

  it("fails in a crash loop, and not before the limit", async () => {
    await using test = await offered(1);
    const { fleet, replica, id, offers } = test;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    await fleet.take(replica, offers);
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING"));
    const crash = { code: "SIGSEGV", severity: "CRITICAL", message: "", stack: "", fatal: true } as const;
    for (const crashes of [1, 2]) {
      fleet.beat(replica, fleet.devices, [crash]);
      await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.crashCount).toBe(crashes));
    }
    fleet.reboot(device);
    fleet.beat(replica);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.failed).toBe(1));
    expect(await test.stateOf(device.id)).toMatchObject({ failureReason: "CRASH_LOOP" });
  });

  it("is not verified by silence, and times out", async () => {
    await using test = await offered(2);
    const { fleet, replica, id, offers, world } = test;
    const [silent, heard] = fleet.devices;
    if (silent === undefined || heard === undefined) throw new Error("no devices");
    await fleet.take(replica, offers);
    await until(replica, id, () => {
      for (const device of fleet.devices)
        expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
    });
    world.clock.advance(6 * minute);
    fleet.beat(replica, [heard]);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.succeeded).toBe(1));
    world.clock.advance(24 * 60 * minute);
    await until(replica, id, (rollout) => expect(ringOf(rollout, "all").counters.failed).toBe(1));
    expect(await test.stateOf(silent.id)).toMatchObject({ state: "TIMED_OUT", failureReason: "SILENT" });
    await expectExactCounters(world);
  });

  it("that ends while the open ones are being read is not taken for open again", async () => {
    await using test = await offered(1);
    const { world, fleet, replica, offers } = test;
    const { tracker } = replica.engine;
    const [device] = fleet.devices;
    if (device === undefined) throw new Error("no device");
    await fleet.take(replica, offers);
    await eventually(() => expect(tracker.get(device.id)?.state).toBe("VERIFYING"));
    const { adminPool } = replica.database;
    const query = adminPool.query.bind(adminPool) as (...args: unknown[]) => Promise<unknown>;
    const read = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const heldQuery = async (...args: unknown[]): Promise<unknown> => {
      const result = await query(...args);
      if ((args[0] as { name?: string }).name === "rollout_open_updates") {
        read.resolve();
        await goOn.promise;
      }
      return result;
    };
    const spy = vi.spyOn(adminPool, "query").mockImplementation(heldQuery as never);
    const polled = tracker.poll();
    await read.promise;
    world.clock.advance(6 * minute);
    fleet.beat(replica);
    await eventually(() => expect(tracker.get(device.id)).toBeUndefined());
    goOn.resolve();
    await polled;
    expect(tracker.get(device.id)).toBeUndefined();
    spy.mockRestore();
  });

  it("takes reports forward only, and none from others", async () => {
    await using test = await offered(2);
    const { replica, offers, fleet } = test;
    const [[device, update] = [], [other] = []] = offers;
    if (device === undefined || update === undefined || other === undefined) throw new Error("no offers");
    expect(await report(replica, device.id, update.id, "DOWNLOADED")).toBe("DOWNLOADED");
    expect(await report(replica, device.id, update.id, "DOWNLOADING")).toBe("DOWNLOADED");
    expect(await report(replica, device.id, update.id, "FAILED", "DIGEST_MISMATCH")).toBe("FAILED");
    expect(await report(replica, device.id, update.id, "INSTALLING")).toBe("FAILED");
    const refusals = await Promise.all(
      [update.id, "01890a5d-ac96-774b-bcce-b302099a8057"].map((id) =>
        report(replica, other.id, id, "DOWNLOADING").catch(
          (error: Error) => `${error.name} ${error.message}`,
        ),
      ),
    );
    expect(refusals[0]).toMatch(/has not been offered/);
    expect(refusals[1]).toBe(refusals[0]);
    // It had its try.
    expect(await fleet.check(replica, device)).toMatchObject({ kind: "none", reason: "ALREADY_TRIED" });
    expect(await fleet.check(replica, device)).toMatchObject({ kind: "none", reason: "ALREADY_TRIED" });
  });
});

describe("a burst of reports", () => {
  it("is stored exactly, device by device", async () => {
    await using test = await offered(300);
    const { replica, offers, world } = test;
    await Promise.all(
      offers.flatMap(([device, { id }], at) => [
        report(replica, device.id, id, "DOWNLOADING"),
        report(replica, device.id, id, "DOWNLOADED"),
        report(replica, device.id, id, at % 3 === 0 ? "FAILED" : "INSTALLING", "INSTALL_FAILED"),
      ]),
    );
    await expectExactCounters(world);
    const { rows } = await world.database.adminPool.query(
      "SELECT state, count(*)::int AS devices FROM device_updates GROUP BY state ORDER BY state",
    );
    expect(rows).toEqual([
      { state: "FAILED", devices: 100 },
      { state: "INSTALLING", devices: 200 },
    ]);
  });
});
