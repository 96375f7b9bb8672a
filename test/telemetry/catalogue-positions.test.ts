import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { readingMetrics, uptimeMetric } from "../../src/console/devices/measurements/metric-words.ts";
import { sessionOn } from "../../src/infra/database/session.ts";
import { DeviceSelection } from "../../src/telemetry/device-selection.ts";
import { MetricCatalogue } from "../../src/telemetry/metric-catalogue.ts";
import { type MapBox, PositionSearch } from "../../src/telemetry/position-search.ts";
import { PositionWriter } from "../../src/telemetry/position-writer.ts";
import { TrackReader } from "../../src/telemetry/track-reader.ts";
import { silent } from "../heartbeat/heartbeat-fixture.ts";
import { beat, makeDevice, noon, reader, startTelemetry } from "./telemetry-fixture.ts";

describe("the catalogue of metrics", () => {
  test("lists built-in metrics, then custom ones with their types and times, in pages", async () => {
    await using telemetry = await startTelemetry();
    const { pool, clock } = telemetry;
    await using catalogue = new MetricCatalogue({
      pool: sessionOn(pool),
      clock,
      logger: silent,
      overflow: { inc: () => undefined },
    });
    const [pump, lamp] = [await makeDevice(pool, "pump"), await makeDevice(pool, "lamp")];
    catalogue.observe([
      beat(pump, 1, 5, { metrics: { flow: 1, "a/b": 2 } }),
      beat(lamp, 1, 65, { metrics: { flow: 2 } }),
    ]);
    await catalogue.flush();
    clock.advance(120_000);
    catalogue.observe([beat(pump, 2, 130, { metrics: { flow: 1 } })]);
    await catalogue.flush();

    const all = await catalogue.list("", { limit: 100 });
    expect(all).toContainEqual(
      expect.objectContaining({ name: "cpu_percent", words: "Processor", unit: "%" }),
    );
    const builtIn = all.filter((metric) => metric.builtIn).map(({ name }) => name);
    expect(builtIn).toContain("uptime_seconds");
    // The console cannot ask for them on behalf of a limited token.
    expect(builtIn.filter((name) => name !== uptimeMetric)).toEqual(readingMetrics);
    const minute = (n: number) => new Date(noon.getTime() + n * 60_000);
    expect(all.filter(({ builtIn }) => !builtIn)).toEqual([
      {
        name: "metrics.a/b",
        words: "a/b",
        unit: "",
        builtIn: false,
        deviceTypes: ["pump"],
        firstSeen: minute(0),
        lastSeen: minute(0),
      },
      {
        name: "metrics.flow",
        words: "flow",
        unit: "",
        builtIn: false,
        deviceTypes: ["lamp", "pump"],
        firstSeen: minute(0),
        lastSeen: minute(2),
      },
    ]);
    const lampOnly = await catalogue.list("lamp", { limit: 100 });
    expect(lampOnly.filter(({ builtIn }) => !builtIn).map(({ name }) => name)).toEqual(["metrics.flow"]);

    const paged: string[] = [];
    for (let after: string | undefined; ; after = paged.at(-1)) {
      const page = await catalogue.list("", { limit: 2, after });
      if (page.length === 0) break;
      paged.push(...page.map(({ name }) => name));
    }
    expect(paged).toEqual(all.map(({ name }) => name));
  });

  test("writes a metric of a type once a minute, and bounds the names of a type", async () => {
    await using telemetry = await startTelemetry();
    const { pool, clock } = telemetry;
    let left = 0;
    await using catalogue = new MetricCatalogue({
      pool: sessionOn(pool),
      clock,
      logger: silent,
      overflow: { inc: () => left++ },
    });
    const ids = [];
    for (let n = 0; n < 17; n++) ids.push(await makeDevice(pool));
    // 17 devices with 60 names each, of which 1,000 fit.
    catalogue.observe(
      ids.map((id, n) =>
        beat(id, 1, 1, {
          metrics: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`m${n}_${i}`, 1])),
        }),
      ),
    );
    await catalogue.flush();
    expect(left).toBe(20);
    const rows = await pool.query("SELECT count(*)::int AS n FROM device_metrics");
    expect(rows.rows).toEqual([{ n: 1_000 }]);

    const versions = () =>
      pool.query("SELECT xmin FROM device_metrics WHERE name = 'm0_0'").then(({ rows: [row] }) => row);
    const before = await versions();
    clock.advance(61_000);
    catalogue.observe([beat(ids[0] ?? "", 2, 30, { metrics: { m0_0: 1 } })]);
    await catalogue.flush();
    expect(await versions()).toEqual(before);
  });
});

describe("positions", () => {
  async function start() {
    const telemetry = await startTelemetry();
    const { pool, reads, clock } = telemetry;
    const search = new PositionSearch(reads, new DeviceSelection({ clock, heartbeatIntervalMs: 60_000 }));
    return {
      ...telemetry,
      writer: new PositionWriter({ pool: sessionOn(pool), clock, logger: silent }),
      search: {
        search: (box: MapBox, filter: string, maxDevices: number) =>
          search.search({ box, filter, maxDevices }, reader),
      },
    };
  }
  const world = { south: -90, west: -180, north: 90, east: 180 };

  test("are found by box, also across the 180th meridian, and by filter", async () => {
    await using telemetry = await start();
    const { writer, search, pool } = telemetry;
    const places = { berlin: [52.5, 13.4], suva: [-18.1, 178.4], apia: [-13.8, -171.8] } as const;
    const ids: Record<string, string> = {};
    for (const [name, [latitude, longitude]] of Object.entries(places)) {
      const id = await makeDevice(pool, name);
      ids[name] = id;
      writer.observe([beat(id, 1, 1, { latitude, longitude, accuracyMeters: 5 })]);
    }
    await writer.flush();
    const found = async (box: typeof world, filter = "") =>
      (await search.search(box, filter, 10)).devices.map(({ deviceId }) => deviceId).toSorted();
    expect(await found({ south: 50, west: 10, north: 55, east: 15 })).toEqual([ids["berlin"]]);
    expect(new Set(await found({ south: -30, west: 170, north: 0, east: -170 }))).toEqual(
      new Set([ids["suva"], ids["apia"]]),
    );
    expect(await found(world, "device_type = suva")).toEqual([ids["suva"]]);
    const { devices } = await search.search({ south: 50, west: 10, north: 55, east: 15 }, "", 10);
    expect(devices[0]).toMatchObject({
      latitude: 52.5,
      longitude: 13.4,
      accuracyMeters: 5,
      receivedAt: beat("", 1, 1).receivedAt,
    });
  });

  test("that are too many come as clusters with the right total", async () => {
    await using telemetry = await start();
    const { writer, search, pool } = telemetry;
    for (let n = 0; n < 12; n++) {
      const place =
        n < 5 ? { latitude: 1, longitude: 179.5 } : { latitude: 1, longitude: -179.5 + n / 1_000 };
      writer.observe([beat(await makeDevice(pool), 1, 1, place)]);
    }
    await writer.flush();
    const box = { south: 0, west: 170, north: 2, east: -170 };
    const { totalCount, devices, clusters } = await search.search(box, "", 11);
    expect({ totalCount, devices }).toEqual({ totalCount: 12, devices: [] });
    expect(clusters.map(({ count }) => count).toSorted((a, b) => a - b)).toEqual([5, 7]);
    expect(clusters.find(({ count }) => count === 7)?.longitude).toBeCloseTo(-179.5, 1);
    expect((await search.search(box, "", 12)).devices).toHaveLength(12);
  });

  test("on the 180th meridian are in one place, whichever way round a device counts", async () => {
    await using telemetry = await start();
    const { writer, search, pool } = telemetry;
    const ids = [await makeDevice(pool), await makeDevice(pool)];
    for (const [n, id] of ids.entries())
      writer.observe([beat(id, 1, 1, { latitude: 1, longitude: n === 0 ? 180 : -180 })]);
    await writer.flush();
    for (const [west, east] of [
      [180, 180],
      [-180, -180],
      [170, 180],
      [170, -170],
      [-180, 180],
      [180, -170],
      [170, -180],
    ] as const) {
      const box = { south: 0, west, north: 2, east };
      const { devices } = await search.search(box, "", 2);
      expect(new Set(devices.map(({ deviceId }) => deviceId)), `${west} to ${east}`).toEqual(new Set(ids));
      const { clusters } = await search.search(box, "", 1);
      expect(clusters, `${west} to ${east}`).toEqual([{ latitude: 1, longitude: -180, count: 2 }]);
    }
    expect((await search.search({ south: 0, west: 170, north: 2, east: 179 }, "", 2)).totalCount).toBe(0);
  });

  test("are written when a device moved or some minutes have passed, forward only, and not of retired devices", async () => {
    await using telemetry = await start();
    const { writer, pool } = telemetry;
    const id = await makeDevice(pool);
    const row = () =>
      pool
        .query(
          "SELECT position[1] AS latitude, received_at AS at FROM device_positions WHERE device_id = $1",
          [id],
        )
        .then(({ rows }) => rows[0]);
    const at = (sequence: number, seconds: number, latitude: number, backlog = false) => {
      writer.observe([{ ...beat(id, sequence, seconds, { latitude, longitude: 10 }), backlog }]);
      return writer.flush();
    };
    const time = (seconds: number) => beat(id, 1, seconds).receivedAt;
    await at(1, 0, 50);
    await at(2, 1, 50.0001);
    expect(await row()).toEqual({ latitude: 50, at: time(0) });
    await at(3, 2, 50.001);
    expect(await row()).toEqual({ latitude: 50.001, at: time(2) });
    await at(4, 3, 60, true);
    await at(5, 1, 70);
    expect(await row()).toEqual({ latitude: 50.001, at: time(2) });
    await at(6, 700, 50.001);
    expect(await row()).toEqual({ latitude: 50.001, at: time(700) });
    await pool.query("UPDATE devices SET is_deleted = true WHERE id = $1", [id]);
    await pool.query("DELETE FROM device_positions");
    await at(7, 800, 51);
    expect(await row()).toBeUndefined();
  });

  test("over time are thinned out evenly; the last one stays", async () => {
    await using telemetry = await start();
    const track = new TrackReader({ reads: telemetry.reads, heartbeats: telemetry.ingest.partitions });
    const id = randomUUID();
    const read = (from: Date, to: Date, maxPoints: number) =>
      track.read({ deviceId: id, from, to, maxPoints, basis: "receive" }, reader);
    const beats = Array.from({ length: 100 }, (_, n) =>
      beat(id, n + 1, n * 10, { latitude: n / 10, longitude: -n, ...(n === 99 ? { fixTime: noon } : {}) }),
    );
    await telemetry.store([...beats, beat(id, 101, 1_000)]);
    const later = new Date(noon.getTime() + 3_600_000);
    const all = await read(noon, later, 100);
    expect(all.map(({ longitude }) => -longitude)).toEqual(beats.map((_beat, n) => n).map((n) => n));
    expect(all.at(-1)).toMatchObject({ fixTime: noon, receivedAt: beats[99]?.receivedAt });
    const thin = await read(noon, later, 10);
    expect(thin.map(({ longitude }) => Math.abs(longitude))).toEqual([9, 19, 29, 39, 49, 59, 69, 79, 89, 99]);
    expect(await read(later, new Date(later.getTime() + 1), 10)).toEqual([]);
  });

  test("of a day of backlog are a day's track by the device's time, and as many points as asked for by either", async () => {
    await using telemetry = await startTelemetry();
    const track = new TrackReader({ reads: telemetry.reads, heartbeats: telemetry.ingest.partitions });
    const id = randomUUID();
    const total = 1_440;
    const beats = Array.from({ length: total }, (_, n) =>
      beat(id, n + 1, 86_400 + Math.floor(n / 480), {
        latitude: 1,
        longitude: n / 10,
        deviceTime: new Date(noon.getTime() + n * 60_000),
      }),
    );
    telemetry.clock.advance(86_500_000);
    await telemetry.store(beats);
    const day = { deviceId: id, from: noon, to: new Date(noon.getTime() + 86_400_000) };
    const whole = await track.read({ ...day, maxPoints: 5_000, basis: "device" }, reader);
    expect(whole.map(({ madeAt }) => madeAt)).toEqual(beats.map(({ deviceTime }) => deviceTime));
    const thin = await track.read({ ...day, maxPoints: 500, basis: "device" }, reader);
    expect(thin).toHaveLength(500);
    const gaps = thin.slice(1).map(({ madeAt }, n) => Number(madeAt) - Number(thin[n]?.madeAt));
    expect(new Set(gaps)).toEqual(new Set([120_000, 180_000]));
    expect(thin.at(-1)).toMatchObject({ madeAt: beats.at(-1)?.deviceTime });
    expect(await track.read({ ...day, maxPoints: 500, basis: "receive" }, reader)).toEqual([]);
    const late = { ...day, to: new Date(noon.getTime() + 90_000_000) };
    expect(await track.read({ ...late, maxPoints: 500, basis: "receive" }, reader)).toHaveLength(500);
  });
});
