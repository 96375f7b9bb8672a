import { rename } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { OtaError } from "../../src/errors.ts";
import { migrateUp } from "../../src/infra/database/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { DedicatedPostgres } from "../support/postgres.ts";
import {
  expectExactCounters,
  Fleet,
  openReplica,
  openWorld,
  release,
  report,
  ringOf,
  run,
  startReplica,
  until,
  wanted,
} from "./rollout-fixture.ts";

it("an outage of the database loses no evidence, fails no device and refuses callers for the time being", async () => {
  await using server = await DedicatedPostgres.start();
  await migrateUp(server.url);
  await using world = await openWorld(server.url);
  await using replica = await startReplica(world);
  const fleet = await Fleet.enrol(world, 20);
  const gate = { minSample: 1, minSuccessPercent: 90, soakMs: 60_000, manual: true };
  const policy = { pauseOnFailure: false, deviceTimeoutMs: 10 * 60_000 };
  const rings = [{ name: "all", percent: 100, gate }];
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
  const offers = await fleet.offers(replica);
  await Promise.all(offers.map(([device, update]) => report(replica, device.id, update.id, "REBOOTING")));
  for (const device of fleet.devices) fleet.reboot(device, "1.1.0");

  await server.stop();
  const [[device, update] = []] = offers;
  if (device === undefined || update === undefined) throw new Error("no offers");
  await expect(report(replica, device.id, update.id, "FAILED", "X")).rejects.toMatchObject({
    code: "unavailable",
    reason: "DATABASE_UNAVAILABLE",
  });
  // Their heartbeats were stored just before; what they prove cannot be written now.
  fleet.beat(replica);
  // The deadlines pass while it is away.
  await replica.engine.tick();
  world.clock.advance(11 * 60_000);
  await replica.engine.tick();
  expect(replica.engine.tracker.size).toBe(20);

  await server.startAgain();
  await eventually(() => {
    for (const { id: deviceId } of fleet.devices) {
      expect(replica.engine.tracker.get(deviceId)?.state).toBe("VERIFYING");
    }
  });
  world.clock.advance(5 * 60_000);
  fleet.beat(replica);
  await until(replica, id, (rollout) =>
    expect(ringOf(rollout, "all").counters).toMatchObject({ succeeded: 20, failed: 0 }),
  );
  await expectExactCounters(world);
});

describe("an outage of the object store", () => {
  const minute = 60_000;
  const gate = { minSample: 1, minSuccessPercent: 90, soakMs: minute, manual: true };
  const rings = [{ name: "all", percent: 100, gate }];
  const policy = { pauseOnFailure: false, retryBackoffMs: minute, deviceTimeoutMs: 10 * minute };

  it("fails no device that could not get the content, whichever replica it asks and tells", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    await using other = await startReplica(world);
    const fleet = await Fleet.enrol(world, 20);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
    await until(other, id, () => expect(other.engine.index.get(id)).toBeDefined());
    const offers = await fleet.offers(replica);
    // This one has it already: what fails then is its own.
    const [[fitted, fittedUpdate] = [], ...rest] = offers;
    if (fitted === undefined || fittedUpdate === undefined) throw new Error("no offers");
    await report(replica, fitted.id, fittedUpdate.id, "DOWNLOADED");
    for (const [device] of rest) await fleet.check(other, device);

    await rename(world.folder, `${world.folder}-away`);
    const [[asker, asked] = []] = rest;
    if (asker === undefined || asked === undefined) throw new Error("no offers");
    const range = { offset: 0, limit: 0, signal: new AbortController().signal };
    await expect(replica.engine.offers.openDownload(asker.id, asked.id, range)).rejects.toBeInstanceOf(
      OtaError,
    );
    for (const [at, [device, update]] of rest.entries()) {
      // Half of them tell a replica that was asked for nothing.
      const told = at % 2 === 0 ? replica : other;
      expect(await report(told, device.id, update.id, "FAILED", "DOWNLOAD_FAILED")).toBe("FAILED");
    }
    await report(replica, fitted.id, fittedUpdate.id, "FAILED", "NO_SPACE");
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "all").counters).toMatchObject({ offered: 20, inProgress: 19, failed: 1 }),
    );
    expect((await replica.engine.catalog.get(id)).state).toBe("RUNNING");
    await expectExactCounters(world);

    await rename(`${world.folder}-away`, world.folder);
    world.clock.advance(2 * minute);
    const again = await fleet.offers(replica);
    expect(again).toHaveLength(19);
    const [[first, update] = []] = again;
    const download = await replica.engine.offers.openDownload(first?.id ?? "", update?.id ?? "", range);
    expect(download.length).toBeGreaterThan(0);
    await fleet.take(replica, again);
    await eventually(() => {
      for (const [device] of again) expect(replica.engine.tracker.get(device.id)?.state).toBe("VERIFYING");
    });
    world.clock.advance(5 * minute);
    fleet.beat(replica);
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "all").counters).toMatchObject({ succeeded: 19, inProgress: 0, failed: 1 }),
    );
    await expectExactCounters(world);
  });

  it("is added to the time that devices have", async () => {
    await using opened = await openReplica();
    const { world, replica } = opened;
    const fleet = await Fleet.enrol(world, 3);
    const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings, policy }));
    const offers = await fleet.offers(replica);
    const [[device, update] = []] = offers;
    if (device === undefined || update === undefined) throw new Error("no offers");
    await rename(world.folder, `${world.folder}-away`);
    const range = { offset: 0, limit: 0, signal: new AbortController().signal };
    // Twice the time that they have, in which they ask again and again.
    for (let passed = 0; passed < 20; passed++) {
      await expect(replica.engine.offers.openDownload(device.id, update.id, range)).rejects.toBeInstanceOf(
        OtaError,
      );
      world.clock.advance(minute);
      await replica.engine.tick();
    }
    await rename(`${world.folder}-away`, world.folder);
    expect(replica.engine.tracker.size).toBe(3);
    // Who is silent when it is over and its time was added is silent by its own doing.
    world.clock.advance(11 * minute);
    await until(replica, id, (rollout) =>
      expect(ringOf(rollout, "all").counters).toMatchObject({ inProgress: 0, failed: 3 }),
    );
    await expectExactCounters(world);
  });
});
