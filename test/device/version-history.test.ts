import { describe, expect, it } from "vitest";
import { FleetPresence } from "../../src/device/fleet/fleet-presence.ts";
import { silent } from "../access/access-fixture.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  joinDevices,
  startDevices,
} from "./device-fixture.ts";

const hourMs = 3_600_000;
/** Ahead of the present, or the credentials that the fixture made would lie in the future. */
const start = new Date(Math.ceil(Date.now() / (24 * hourMs)) * 24 * hourMs + 60_000);

function historyOf(devices: DeviceReplica) {
  const { database, clock } = devices.access;
  return new FleetPresence({
    database,
    clock,
    logger: silent,
    heartbeatIntervalMs: 60_000,
    versionHistoryDays: 1,
  }).versions;
}

/** Devices by serial number, and a way to let them say what they run. */
async function fleetOf(devices: DeviceReplica, size: number) {
  const key = await enrolmentKey(devices);
  const ids: string[] = [];
  for (let n = 0; n < size; n++) {
    const request = enrolmentOf(key, `SN-${n}`);
    ids.push((await devices.enrolment.enrol(request)).deviceId);
  }
  let sequence = 0;
  const say = async (versions: readonly (string | undefined)[], components?: Record<string, string>) => {
    const receivedAt = devices.access.clock.now();
    devices.directory.observe(
      versions.flatMap((firmwareVersion, index) => {
        const id = ids[index];
        if (id === undefined || firmwareVersion === undefined) return [];
        return [heartbeatOf(id, ++sequence, { receivedAt, firmwareVersion, components })];
      }),
    );
    await devices.states.flush();
  };
  return { ids, say };
}

describe("VersionHistory", () => {
  it("counts each hour once, on whichever replica, and ends with the present", async () => {
    await using one = await startDevices();
    await using two = await joinDevices(one.access.url);
    const { clock } = one.access;
    clock.setWallClock(start);
    two.access.clock.setWallClock(start);
    const histories = [historyOf(one), historyOf(two)];
    const [history] = histories as [ReturnType<typeof historyOf>, ReturnType<typeof historyOf>];
    expect(await history.read({ component: "", from: start, to: undefined, maxPoints: 10 })).toEqual({
      versions: [],
      points: [{ countedAt: start, counts: [], other: 0, unknown: 0 }],
      first: undefined,
    });

    const { ids, say } = await fleetOf(one, 4);
    await say(["1.0.0", "1.0.0", "1.0.0"]);
    const recorded = await Promise.all(histories.map((each) => each.record()));
    expect(recorded.toSorted((a, b) => Number(a) - Number(b))).toEqual([false, true]);
    await say([undefined, "1.1.0", "1.1.0", "1.1.0"]);
    expect(await history.record(), "the hour is counted").toBe(false);

    // Nobody counts for two hours, then a device has gone.
    clock.advance(3 * hourMs);
    two.access.clock.advance(3 * hourMs);
    await one.registry.retire({ actor: "operator:root", id: ids[0] ?? "", reason: "" });
    expect(await history.record()).toBe(true);
    clock.advance(1_000);
    await say([undefined, "1.2.0"]);
    expect(await history.read({ component: "", from: start, to: undefined, maxPoints: 10 })).toEqual({
      versions: ["1.1.0", "1.2.0", "1.0.0"],
      points: [
        { countedAt: start, counts: [0, 0, 3], other: 0, unknown: 1 },
        { countedAt: new Date(start.getTime() + 3 * hourMs), counts: [3, 0, 0], other: 0, unknown: 0 },
        { countedAt: clock.now(), counts: [2, 1, 0], other: 0, unknown: 0 },
      ],
      first: start,
    });
  });

  it("counts applications by their component, and thins out what is long", async () => {
    await using devices = await startDevices();
    const { clock } = devices.access;
    clock.setWallClock(start);
    const history = historyOf(devices);
    const { say } = await fleetOf(devices, 2);
    for (let hour = 0; hour < 8; hour++) {
      await say(["1.0.0", "1.0.0"], { player: `2.${hour}.0` });
      await history.record();
      clock.advance(hourMs);
    }
    const all = await history.read({ component: "player", from: start, to: clock.now(), maxPoints: 100 });
    expect(all.points).toHaveLength(8);
    expect(all.versions[0], "most run it at the end").toBe("2.7.0");
    expect(all.points.at(-1)).toMatchObject({ counts: [2, 0, 0, 0, 0, 0, 0, 0], other: 0, unknown: 0 });
    const few = await history.read({ component: "player", from: start, to: clock.now(), maxPoints: 2 });
    expect(few.points.map(({ countedAt }) => (countedAt.getTime() - start.getTime()) / hourMs)).toEqual([
      3, 7,
    ]);
    expect(few.versions).toEqual(["2.7.0", "2.3.0"]);
  });

  it("sums up what too many versions leave over, and drops what is old", async () => {
    await using devices = await startDevices();
    const { clock, database } = devices.access;
    clock.setWallClock(start);
    const history = historyOf(devices);
    const versions = Array.from({ length: 130 }, (_, n) => `1.0.${n}`);
    await database.adminPool.query(
      `INSERT INTO fleet_counts (dimension, name, count)
       SELECT 'firmware_version', unnest($1::text[]), 2 UNION ALL SELECT 'total', NULL, 265`,
      [versions],
    );
    await history.record();
    clock.advance(1_000);
    const { points, versions: shown } = await history.read({
      component: "",
      from: start,
      to: clock.now(),
      maxPoints: 10,
    });
    expect(shown).toHaveLength(20);
    expect(points[0]).toMatchObject({ other: 220, unknown: 5 });
    const stored = await database.adminPool.query("SELECT count(*)::int AS rows FROM fleet_version_history");
    expect(stored.rows).toEqual([{ rows: 102 }]);

    clock.advance(25 * hourMs);
    await history.record();
    const { first } = await history.read({ component: "", from: start, to: undefined, maxPoints: 10 });
    expect(first).toEqual(clock.now());
  });
});
