import { expect, it } from "vitest";
import { release, run, type SimulatedDevice, wanted } from "../rollout-fixture.ts";
import {
  day,
  devicesOf,
  expectInvariants,
  fleetSize,
  hour,
  install,
  oneRing,
  openScene,
  type Taken,
  verify,
} from "./big-fleet.ts";

const sunday = 7;

it("offers are made in the maintenance window of each device's time zone only, also when the clocks change", async () => {
  await using scene = await openScene();
  const { world, replica, fleet } = scene;
  const berlin = fleet.devices.slice(0, 1_000);
  const tokyo = fleet.devices.slice(1_000, 1_500);
  // These say nothing of where they are: the window's own zone counts.
  const newYork = fleet.devices.slice(1_500);
  for (const [devices, zone] of [
    [berlin, "Europe/Berlin"],
    [tokyo, "Asia/Tokyo"],
  ] as const) {
    await world.database.adminPool.query(
      "UPDATE devices SET metadata = jsonb_build_object('time_zone', $2::text) WHERE id = ANY ($1::uuid[])",
      [devices.map(({ id }) => id), zone],
    );
    for (const { id } of devices) replica.directory.reload(id);
  }
  const policy = {
    pauseOnFailure: false,
    // What comes of the offers is another story.
    deviceTimeoutMs: 365 * day,
    maintenanceWindows: [
      { weekdays: [sunday], start: "02:30", durationMs: hour, timeZone: "America/New_York" },
    ],
  };
  const { id } = await run(replica, wanted(await release(world, "1.1.0"), { rings: oneRing, policy }));

  const offered: Taken[] = [];
  /** Who asks at that time, and is offered it. */
  const askAt = async (time: string, devices: SimulatedDevice[]): Promise<SimulatedDevice[]> => {
    world.clock.setWallClock(time);
    const had = new Set(devicesOf(offered));
    const offers = await fleet.offers(
      replica,
      devices.filter((device) => !had.has(device)),
    );
    offered.push(...offers);
    return devicesOf(offers);
  };
  const everyone = fleet.devices;
  const late = berlin.slice(-20);
  const early = everyone.filter((device) => !late.includes(device));

  expect(await askAt("2026-03-28T17:29:59Z", everyone)).toEqual([]);
  const [first] = tokyo;
  if (first === undefined) throw new Error("no device");
  const answer = await fleet.check(replica, first);
  expect(answer).toMatchObject({
    reason: "OUTSIDE_MAINTENANCE_WINDOW",
    untilMs: Date.parse("2026-03-28T17:30:00Z"),
    retry: { spreadMs: expect.any(Number) },
  });
  expect(await askAt("2026-03-28T17:30:00Z", everyone)).toEqual(tokyo);
  await install(scene, offered);
  await verify(scene, offered);
  expect(await askAt("2026-03-28T18:30:00Z", everyone)).toEqual([]);
  // Half past two does not exist in Berlin on that day: the window opens as far behind the change as it lies in the gap.
  expect(await askAt("2026-03-29T01:29:59Z", everyone)).toEqual([]);
  expect(await askAt("2026-03-29T01:30:00Z", early)).toEqual(berlin.slice(0, -20));
  // It lasts as long as on any other day.
  expect(await askAt("2026-03-29T02:29:59Z", late.slice(0, 5))).toHaveLength(5);
  expect(await askAt("2026-03-29T02:30:00Z", everyone)).toEqual([]);
  expect(await askAt("2026-03-29T06:30:00Z", everyone)).toEqual(newYork);
  // Another Sunday, by summer time now.
  expect(await askAt("2026-04-04T01:00:00Z", everyone)).toEqual([]);
  expect(await askAt("2026-04-05T00:30:00Z", late.slice(0, 10))).toHaveLength(5);
  expect(await askAt("2026-04-05T01:30:00Z", late)).toEqual([]);
  // The hour that comes twice in autumn opens it once, the first time.
  expect(await askAt("2026-10-25T00:29:59Z", late)).toEqual([]);
  expect(await askAt("2026-10-25T00:30:00Z", late.slice(0, 15))).toHaveLength(5);
  expect(await askAt("2026-10-25T01:30:00Z", late)).toEqual([]);

  expect(offered).toHaveLength(fleetSize - 5);
  const { rows } = await world.database.adminPool.query(
    "SELECT count(*)::int AS offers FROM device_updates WHERE rollout_id = $1",
    [id],
  );
  expect(rows).toEqual([{ offers: fleetSize - 5 }]);
  await expectInvariants(world);
});
