import type { Pool } from "pg";
import { describe, expect, it } from "vitest";
import {
  actor,
  expectExactCounters,
  Fleet,
  minute,
  openReplica,
  release,
  report,
  run,
  until,
  wanted,
} from "./rollout-fixture.ts";

const gate = { minSample: 1, minSuccessPercent: 90, soakMs: 0, manual: false };
const rings = [{ name: "all", percent: 100, gate }];
const policy = { pauseOnFailure: false, verificationMs: 0 };
const day = 24 * 60 * minute;

/** A rollout that was rolled back while its only device was silent, over all deadlines. */
async function awayDevice() {
  await using cleanup = new AsyncDisposableStack();
  const { world, replica, catalog } = cleanup.use(await openReplica());
  await release(world, "1.0.0");
  const firmwareId = await release(world, "2.0.0");
  const fleet = await Fleet.enrol(world, 1);
  const [device] = fleet.devices;
  if (device === undefined) throw new Error("no device");
  fleet.beat(replica);
  const { id } = await run(replica, wanted(firmwareId, { rings, policy }));
  const [offer] = await fleet.offers(replica);
  await report(replica, device.id, offer?.[1].id ?? "", "REBOOTING");
  await catalog.rollback({ id, actor, reason: "it is bad" });
  world.clock.advance(2 * day);
  const over = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
  expect(over).toMatchObject({
    alert: "not rolled back: 1 device until heard again",
    rollback: { total: 1, completed: 0, failed: 1, away: 1 },
  });
  const owned = cleanup.move();
  return {
    world,
    replica,
    catalog,
    fleet,
    device,
    id,
    firmwareId,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A rollout of 2.0.0 that its only device took, and that an operator rolls back. */
async function takenBack({ world, replica, catalog }: Awaited<ReturnType<typeof openReplica>>) {
  const fleet = await Fleet.enrol(world, 1);
  const [device] = fleet.devices;
  if (device === undefined) throw new Error("no device");
  fleet.beat(replica);
  const { id } = await run(replica, wanted(await release(world, "2.0.0"), { rings, policy }));
  await fleet.take(replica, await fleet.offers(replica));
  await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  await catalog.rollback({ id, actor, reason: "" });
  return { fleet, device, id };
}

describe("a device whose rollback timed out", () => {
  it("is rolled back when it is heard again on the version that was taken back", async () => {
    await using test = await awayDevice();
    const { world, replica, fleet, device, id } = test;
    fleet.reboot(device, "2.0.0");
    fleet.beat(replica);
    const reopened = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLING_BACK"));
    expect(reopened).toMatchObject({
      alert: "",
      stateReason: "it is bad",
      rollback: { total: 1, completed: 0, failed: 0, away: 0 },
    });
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
    const offers = await fleet.offers(replica);
    expect(offers).toMatchObject([[{}, { action: "ROLLBACK", toVersion: "1.0.0" }]]);
    await expectExactCounters(world);
    await fleet.take(replica, offers);
    const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toMatchObject({ total: 1, completed: 1, failed: 0, away: 0 });
    const events = await replica.audit.list(
      { resourceId: id, action: "rollout.reopen_rollback" },
      { limit: 9 },
    );
    expect(events).toMatchObject([
      { actor: "system:rollback", details: { why: "devices that were away are heard again" } },
    ]);
    await expectExactCounters(world);
  });

  it("has gone back if it is heard again on the version that it came from", async () => {
    await using test = await awayDevice();
    const { world, replica, fleet, device, id } = test;
    fleet.reboot(device, "1.0.0");
    fleet.beat(replica);
    const back = await until(replica, id, (rollout) => expect(rollout.rollback.completed).toBe(1));
    expect(back).toMatchObject({ state: "ROLLED_BACK", alert: "", rollback: { total: 1, failed: 0 } });
    expect(await fleet.offers(replica)).toEqual([]);
    await expectExactCounters(world);
  });

  it("keeps the version if a newer rollout brings it", async () => {
    await using test = await awayDevice();
    const { world, replica, fleet, device, id, firmwareId } = test;
    await run(replica, wanted(firmwareId, { rings, policy }));
    world.clock.advance(1_000);
    fleet.reboot(device, "2.0.0");
    fleet.beat(replica);
    const heard = await until(replica, id, (rollout) => expect(rollout.rollback.away).toBe(0));
    expect(heard).toMatchObject({ state: "ROLLED_BACK", alert: "", rollback: { failed: 1 } });
    expect(await fleet.offers(replica)).toEqual([]);
    await expectExactCounters(world);
  });
});

it("a rollback that lacks a version says which, and goes on by itself once that is released", async () => {
  await using opened = await openReplica();
  const { world, replica, catalog } = opened;
  const firmwareId = await release(world, "2.0.0");
  const fleet = await Fleet.enrol(world, 3);
  fleet.beat(replica);
  const { id } = await run(replica, wanted(firmwareId, { rings, policy }));
  await fleet.take(replica, await fleet.offers(replica));
  await until(replica, id, (rollout) => expect(rollout.state).toBe("COMPLETED"));
  await catalog.rollback({ id, actor, reason: "" });
  const blocked = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
  expect(blocked).toMatchObject({
    alert: "not rolled back: 3 devices until version 1.0.0 is released",
    rollback: { total: 3, failed: 3, blocked: 3 },
  });
  await release(world, "1.0.0");
  const rolling = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLING_BACK"));
  expect(rolling).toMatchObject({ alert: "", rollback: { total: 3, failed: 0, blocked: 0 } });
  await expectExactCounters(world);
  await until(replica, id, () => expect(replica.engine.tracker.size).toBe(3));
  await fleet.take(replica, await fleet.offers(replica));
  const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
  expect(back.rollback).toMatchObject({ total: 3, completed: 3 });
  expect(fleet.devices.map(({ version }) => version)).toEqual(["1.0.0", "1.0.0", "1.0.0"]);
  await expectExactCounters(world);
});

describe("a rollback that failed", () => {
  it("is made again when an operator says so, of the device or of all", async () => {
    await using opened = await openReplica();
    const { world, replica, catalog } = opened;
    await release(world, "1.0.0");
    const { fleet, device, id } = await takenBack(opened);
    for (const again of ["device", "all"]) {
      await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
      const [offer] = await fleet.offers(replica);
      await report(replica, device.id, offer?.[1].id ?? "", "FAILED", "FLASH_FULL");
      await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
      const { effect } =
        again === "device"
          ? await catalog.rollbackDevice({ id, deviceId: device.id, actor, reason: "try once more" })
          : await catalog.rollback({ id, actor, reason: "try once more" });
      expect(effect).toMatchObject({ unchanged: false, rollbacks: 1 });
      expect(await catalog.get(id)).toMatchObject({
        state: "ROLLING_BACK",
        rollback: { total: 1, failed: 0 },
      });
      await expectExactCounters(world);
    }
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
    await fleet.take(replica, await fleet.offers(replica));
    await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    // All are back: there is nothing more to do.
    expect((await catalog.rollback({ id, actor, reason: "" })).effect).toMatchObject({ unchanged: true });
  });

  it("for want of a version is made with another one that an operator names", async () => {
    await using opened = await openReplica();
    const { world, replica, catalog } = opened;
    const { fleet, id } = await takenBack(opened);
    await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    const unchanged = await catalog.rollback({ id, actor, reason: "" });
    expect(unchanged.effect.unchanged).toBe(true);
    const firmwareId = await release(world, "0.9.0");
    const { effect, alert } = await catalog.rollback({ id, actor, reason: "", firmwareId });
    expect({ effect, alert }).toMatchObject({ effect: { rollbacks: 1 }, alert: "" });
    await until(replica, id, () => expect(replica.engine.tracker.size).toBe(1));
    expect(await fleet.offers(replica)).toMatchObject([[{}, { action: "ROLLBACK", toVersion: "0.9.0" }]]);
    await expectExactCounters(world);
  });
});

it("a device whose own fall-back brings a version again that was taken back goes back three times more", async () => {
  await using opened = await openReplica();
  const { world, replica, catalog } = opened;
  await release(world, "1.0.0");
  const { fleet, device, id } = await takenBack(opened);
  for (let times = 0; times <= 3; times++) {
    await until(replica, id, () => expect(replica.engine.tracker.get(device.id)?.action).toBe("ROLLBACK"));
    await fleet.take(replica, await fleet.offers(replica));
    const back = await until(replica, id, (rollout) => expect(rollout.state).toBe("ROLLED_BACK"));
    expect(back.rollback).toMatchObject({ total: 1, completed: 1 });
    await expectExactCounters(world);
    await written(world, device.id, "1.0.0");
    fleet.reboot(device, "2.0.0");
    fleet.beat(replica);
  }
  await written(world, device.id, "2.0.0");
  await expect
    .poll(async () => (await world.database.adminPool.query("SELECT FROM device_version_changes")).rowCount)
    .toBe(0);
  expect((await catalog.get(id)).state).toBe("ROLLED_BACK");
  expect(await fleet.offers(replica)).toEqual([]);
});

/** Waits until the database knows which version the device runs. */
async function written(world: { database: { adminPool: Pool } }, deviceId: string, version: string) {
  await expect
    .poll(async () => {
      const { rows } = await world.database.adminPool.query<{ firmware_version: string }>(
        "SELECT firmware_version FROM device_state WHERE device_id = $1",
        [deviceId],
      );
      return rows[0]?.firmware_version;
    })
    .toBe(version);
}
