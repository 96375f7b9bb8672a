import { describe, expect, it } from "vitest";
import { seededRandom } from "../../src/agent/seeded-random.ts";
import { parseDeviceFilter } from "../../src/device/filter/device-filter.ts";
import { FleetPresence } from "../../src/device/fleet/fleet-presence.ts";
import { PresenceLog } from "../../src/device/fleet/presence-log.ts";
import { RetiredPresence } from "../../src/device/fleet/retired-presence.ts";
import { presenceOf } from "../../src/device/state/presence.ts";
import { silent } from "../access/access-fixture.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  joinDevices,
  startDevices,
} from "./device-fixture.ts";

const heartbeatIntervalMs = 60_000;

function fleetOf(devices: DeviceReplica) {
  const { database, clock } = devices.access;
  const fleet = new FleetPresence({ database, clock, logger: silent, heartbeatIntervalMs });
  const { overview } = fleet.view({ streams: { size: 3 }, updates: { openUpdateCount: async () => 2 } });
  return { fleet, overview };
}

describe("StatusOverview", () => {
  it("counts the fleet by everything that it shows, without retired devices", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const nowMs = devices.access.clock.now().getTime();
    for (const [n, deviceType, silentMs, firmwareVersion, batteryPercent] of [
      [1, "thermostat", 0, "1.0.0", 0],
      [2, "thermostat", 90_000, "1.0.0", 100],
      [3, "thermostat", 91_000, "1.1.0", 9.99],
      [4, "camera", 240_000, "1.0.0", 10],
      [5, "camera", 241_000, "1.1.0", undefined],
      [6, "camera", undefined, "", undefined],
      [7, "retired", 0, "9.9.9", 50],
    ] as const) {
      const { deviceId } = await devices.enrolment.enrol(enrolmentOf(key, `SN-${n}`, { deviceType }));
      if (silentMs !== undefined) {
        const receivedAt = new Date(nowMs - silentMs);
        devices.directory.observe([
          heartbeatOf(deviceId, 1, {
            receivedAt,
            firmwareVersion,
            batteryPercent,
            storageFreeBytes: n * 16 * 1024 ** 2,
            networkType: n % 2 === 0 ? "CELLULAR" : "WIFI",
            signalDbm: n === 1 ? -111 : -60,
            carrier: n % 2 === 0 ? "telco" : undefined,
          }),
        ]);
      }
      if (deviceType === "retired") {
        await devices.states.flush();
        await devices.registry.retire({ actor: "operator:root", id: deviceId, reason: "" });
      }
    }
    await devices.states.flush();
    const status = await fleetOf(devices).overview.get();
    expect(status).toMatchObject({
      total: 6,
      online: 2,
      late: 2,
      offline: 1,
      unknown: 1,
      firmwareVersions: [
        { name: "1.0.0", count: 3 },
        { name: "1.1.0", count: 2 },
      ],
      deviceTypes: [
        { name: "camera", count: 3 },
        { name: "thermostat", count: 3 },
      ],
      hardwareModels: [{ name: "tx-200", count: 6 }],
      groups: [],
      networkTypes: [
        { name: "WIFI", count: 3 },
        { name: "CELLULAR", count: 2 },
      ],
      carriers: [{ name: "telco", count: 2 }],
      updating: 2,
      streaming: 3,
      heartbeatsPerSecond: 0,
      countedAt: devices.access.clock.now(),
    });
    expect(status.batteryPercent.map(({ count }) => count)).toEqual([2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect(status.batteryPercent.at(-1)).toEqual({ lower: 90, upper: 100, count: 1 });
    expect(status.storageFreeBytes.map(({ count }) => count)).toEqual([0, 3, 2, 0, 0, 0, 0]);
    expect(status.signalDbm).toMatchObject([
      { lower: undefined, upper: -110, count: 1 },
      ...[0, 0, 0, 0, 0].map((count) => ({ count })),
      { lower: -60, upper: undefined, count: 4 },
    ]);
  });

  it("counts an empty fleet", async () => {
    await using devices = await startDevices();
    expect(await fleetOf(devices).overview.get()).toMatchObject({ total: 0, online: 0, unknown: 0 });
  });

  it("agrees with a count of all devices after random traffic, changes and retirements on two replicas", async () => {
    await using one = await startDevices();
    await using two = await joinDevices(one.access.url);
    const replicas = [one, two];
    const key = await enrolmentKey(one);
    const random = seededRandom(7);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const ids: string[] = [];
    for (let n = 0; n < 40; n++) {
      const request = enrolmentOf(key, `SN-${n}`, { deviceType: pick(["a", "b", "c"]) });
      ids.push((await one.enrolment.enrol(request)).deviceId);
    }
    const startMs = one.access.clock.now().getTime();
    let sequence = 0;
    const wrong: number[] = [];
    for (let round = 0; round < 30; round++) {
      const verbs = ids
        .filter(() => random() < 0.05)
        .map(async (id) => {
          const groups = ["x", "y", "z"].filter(() => random() < 0.5);
          const expectedIntervalMs = pick([undefined, 0, 1_000, 30_000, 600_000]);
          const update = { actor: "operator:root", id, groups, expectedIntervalMs };
          await (random() < 0.3
            ? pick(replicas).registry.retire({ actor: "operator:root", id, reason: "" })
            : pick(replicas).registry.update({
                displayName: undefined,
                metadata: undefined,
                tags: undefined,
                updatePin: undefined,
                ...update,
              } as never)
          ).catch(() => undefined);
        });
      for (const replica of replicas) {
        replica.directory.observe(
          ids
            .filter(() => random() < 0.4)
            .map((id) =>
              heartbeatOf(id, ++sequence, {
                receivedAt: new Date(startMs + round * 20_000 + Math.floor(random() * 20_000)),
                firmwareVersion: pick(["1.0.0", "1.1.0", ""]),
                batteryPercent: pick([undefined, 5, 50, 100]),
                networkType: pick([undefined, "ETHERNET", "CELLULAR"]),
                signalDbm: pick([undefined, -120, -65]),
                carrier: pick([undefined, "telco"]),
              }),
            ),
        );
      }
      await Promise.all([...verbs, ...replicas.map(({ states }) => states.flush())]);
      const { fleet } = fleetOf(pick(replicas));
      if (round % 5 === 4) await fleet.counters.fold();
      if (round % 10 === 9) wrong.push(await fleet.counters.recount());
    }
    expect(wrong).toEqual([0, 0, 0]);
    one.access.clock.advance(30 * 20_000);
    const { overview } = fleetOf(one);
    const status = await overview.get();
    const { rows } = await one.access.database.adminPool.query<{
      last_seen_at: Date | null;
      expected_interval_ms: string | null;
    }>(
      "SELECT s.last_seen_at, d.expected_interval_ms FROM devices d LEFT JOIN device_state s ON s.device_id = d.id WHERE NOT d.is_deleted",
    );
    const counts: Record<string, number> = { online: 0, late: 0, offline: 0, unknown: 0 };
    for (const { last_seen_at: seen, expected_interval_ms: own } of rows) {
      const intervalMs = own === null ? heartbeatIntervalMs : Number(own);
      const presence = presenceOf(seen?.getTime(), one.access.clock.now().getTime(), intervalMs);
      counts[presence] = (counts[presence] ?? 0) + 1;
    }
    expect(status).toMatchObject({ total: rows.length, ...counts });
    expect(rows.length).toBeLessThan(40);
  });

  it("takes a time to come for no sign of life, and a device for online again once it is heard", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    const { clock } = devices.access;
    const { deviceId } = await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const now = clock.now();
    // The database's clock was in 2038 for a while.
    clock.setWallClock("2038-01-01T00:00:00Z");
    devices.directory.observe([heartbeatOf(deviceId, 1, { receivedAt: clock.now() })]);
    await devices.states.flush();
    const { overview } = fleetOf(devices);
    expect(await overview.get()).toMatchObject({ online: 1, offline: 0 });
    clock.setWallClock(now);
    expect(await fleetOf(devices).overview.get()).toMatchObject({ online: 0, offline: 1 });
    const { signal } = new AbortController();
    const count = (filter: string) => devices.registry.count(parseDeviceFilter(filter), { signal });
    expect([await count("presence = ONLINE"), await count("presence = OFFLINE")]).toEqual([0, 1]);
    devices.directory.observe([heartbeatOf(deviceId, 2, { receivedAt: now })]);
    await devices.states.flush();
    expect(await fleetOf(devices).overview.get()).toMatchObject({ online: 1, offline: 0 });
    expect([await count("presence = ONLINE"), await count("presence = OFFLINE")]).toEqual([1, 0]);
  });

  it("puts right what was loaded behind the triggers' back", async () => {
    await using devices = await startDevices();
    const key = await enrolmentKey(devices);
    await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const { fleet, overview } = fleetOf(devices);
    await devices.access.database.adminPool.query("DELETE FROM fleet_counts");
    expect(await overview.get()).toMatchObject({ total: 0 });
    expect(await fleet.counters.recount()).toBeGreaterThan(0);
    expect(await overview.get()).toMatchObject({ total: 1, unknown: 1 });
  });
});

describe("FleetWatch", () => {
  it("sends the fleet after changes, with who came and went, and goes on after a break", async () => {
    await using devices = await startDevices();
    const { database, clock } = devices.access;
    const key = await enrolmentKey(devices);
    const { deviceId } = await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const { fleet } = fleetOf(devices);
    const { watch } = fleet.view({ streams: { size: 0 }, updates: { openUpdateCount: async () => 0 } });
    const stop = new AbortController();
    const moments = watch.watch("", stop.signal);
    const first = (await moments.next()).value;
    expect(first).toMatchObject({ status: { unknown: 1 }, changes: [], changesLost: false });

    const beat = [heartbeatOf(deviceId, 1, { receivedAt: clock.now() })];
    await fleet.tracker.prepare(beat);
    devices.directory.observe(beat);
    await devices.states.flush();
    fleet.tracker.heard(beat);
    await fleet.tracker.tick();
    const second = (await moments.next()).value;
    expect(second).toMatchObject({
      status: { online: 1, unknown: 0 },
      changes: [{ deviceId, presence: "online", previous: "unknown" }],
      changesLost: false,
    });
    stop.abort();
    expect((await moments.next()).done).toBe(true);
    expect(watch.size).toBe(0);

    clock.advance(100_000);
    await fleet.tracker.tick();
    // On another replica that knows nothing but the database.
    const other = new FleetPresence({ database, clock, logger: silent, heartbeatIntervalMs });
    const { watch: elsewhere } = other.view({
      streams: { size: 0 },
      updates: { openUpdateCount: async () => 0 },
    });
    const again = elsewhere.watch(second?.resumeToken ?? "", AbortSignal.timeout(10_000));
    expect((await again.next()).value).toMatchObject({
      status: { late: 1 },
      changes: [{ deviceId, presence: "late", previous: "online" }],
      changesLost: false,
    });
    await again.return(undefined);
  });

  it("tells from any replica what one that died would have told", async () => {
    await using devices = await startDevices();
    const { database, clock } = devices.access;
    const key = await enrolmentKey(devices);
    const { deviceId: silenced } = await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const { deviceId: alive } = await devices.enrolment.enrol(enrolmentOf(key, "SN-2"));
    const { fleet: survivor } = fleetOf(devices);
    const { fleet: doomed } = fleetOf(devices);
    const beat = async (fleet: FleetPresence, deviceId: string, sequence: number): Promise<void> => {
      const heard = [heartbeatOf(deviceId, sequence, { receivedAt: clock.now() })];
      await fleet.tracker.prepare(heard);
      devices.directory.observe(heard);
      await devices.states.flush();
      fleet.tracker.heard(heard);
    };
    const log = new PresenceLog(database.pool);
    const told = async (): Promise<unknown[]> =>
      (await log.after(0, 100)).changes.map((change) => [change.deviceId, change.previous, change.presence]);
    await beat(doomed, silenced, 1);
    await beat(survivor, alive, 1);
    await doomed.tracker.tick();
    await survivor.tracker.tick();
    const came = [
      [silenced, "unknown", "online"],
      [alive, "unknown", "online"],
    ];
    expect(await told()).toEqual(came);
    await doomed[Symbol.asyncDispose]();

    for (let round = 1; round <= 3; round++) {
      clock.advance(50_000);
      await beat(survivor, alive, 1 + round);
      await survivor.tracker.tick();
    }
    const late = [...came, [silenced, "online", "late"]];
    expect(await told()).toEqual(late);
    for (let round = 1; round <= 3; round++) {
      clock.advance(50_000);
      await beat(survivor, alive, 4 + round);
      await survivor.tracker.tick();
    }
    expect(await told()).toEqual([...late, [silenced, "late", "offline"]]);
  });

  it("sees a retired device go, and nothing that it had on its way", async () => {
    const heartbeats = { heartbeatIntervalMs };
    await using devices = await startDevices((clock) => [new RetiredPresence({ clock, ...heartbeats })]);
    const { clock, database } = devices.access;
    const key = await enrolmentKey(devices);
    const { deviceId } = await devices.enrolment.enrol(enrolmentOf(key, "SN-1"));
    const { deviceId: unheard } = await devices.enrolment.enrol(enrolmentOf(key, "SN-2"));
    const { fleet, overview } = fleetOf(devices);
    const beat = async (sequence: number): Promise<void> => {
      const heard = [heartbeatOf(deviceId, sequence, { receivedAt: clock.now() })];
      await fleet.tracker.prepare(heard);
      devices.directory.observe(heard);
      await devices.states.flush();
      fleet.tracker.heard(heard);
      await fleet.tracker.tick();
    };
    await beat(1);
    for (const id of [deviceId, unheard])
      await devices.registry.retire({ actor: "operator:root", id, reason: "" });
    clock.advance(100_000);
    await beat(2);
    // Of a replica that never heard it.
    const { fleet: other } = fleetOf(devices);
    await other.tracker.prepare([heartbeatOf(deviceId, 3, { receivedAt: clock.now() })]);
    await other.tracker.tick();

    const { changes } = await new PresenceLog(database.pool).after(0, 100);
    expect(changes.map((change) => [change.deviceId, change.previous, change.presence])).toEqual([
      [deviceId, "unknown", "online"],
      [deviceId, "online", "retired"],
      [unheard, "unknown", "retired"],
    ]);
    expect(await overview.get()).toMatchObject({ total: 0, online: 0, late: 0, offline: 0, unknown: 0 });
  });

  it("says that changes are missing rather than leave them out in silence", async () => {
    await using devices = await startDevices();
    const { fleet } = fleetOf(devices);
    const { watch } = fleet.view({ streams: { size: 0 }, updates: { openUpdateCount: async () => 0 } });
    const moments = watch.watch("zzz", AbortSignal.timeout(10_000));
    expect((await moments.next()).value).toMatchObject({ changesLost: true });
    await moments.return(undefined);
    await expect(watch.watch("../", AbortSignal.timeout(10_000)).next()).rejects.toMatchObject({
      code: "invalid_argument",
    });
  });
});
