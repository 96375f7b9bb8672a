import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { DeviceSelection } from "../../src/telemetry/device-selection.ts";
import { SeriesReader, type SeriesRequest } from "../../src/telemetry/series-reader.ts";
import { beat, makeDevice, noon, reader, startTelemetry } from "./telemetry-fixture.ts";

const minuteMs = 60_000;

async function start() {
  const telemetry = await startTelemetry();
  const job = telemetry.job();
  const { reads, clock } = telemetry;
  const series = new SeriesReader({
    reads,
    clock,
    devices: new DeviceSelection({ clock, heartbeatIntervalMs: 60_000 }),
    rollups: job,
    kept: { heartbeats: telemetry.ingest.partitions, ...telemetry.partitions },
  });
  await job.run();
  return {
    ...telemetry,
    rollupJob: job,
    series: {
      read: (request: Omit<SeriesRequest, "basis" | "timeZone"> & Partial<SeriesRequest>) =>
        series.read({ basis: "receive", timeZone: "", ...request }, reader),
    },
  };
}

describe("series", () => {
  test("of heartbeats have lowest, mean, highest, newest and number a bucket", async () => {
    await using telemetry = await start();
    const id = randomUUID();
    await telemetry.store([
      beat(id, 1, 1, { cpuPercent: 10, metrics: { "door.open": 4 } }),
      beat(id, 2, 2, { cpuPercent: 30 }),
      beat(id, 3, 3, { cpuPercent: 20, metrics: { "door.open": 2 } }),
      beat(id, 4, 61, { cpuPercent: 99 }),
    ]);
    telemetry.clock.advance(30 * minuteMs);
    const answer = await telemetry.series.read({
      devices: { id },
      metrics: ["cpu_percent", "metrics.door.open", "metrics.nothing", "uptime_seconds"],
      from: noon,
      maxPoints: 30,
    });
    const second = new Date(noon.getTime() + minuteMs);
    expect(answer).toMatchObject({ source: "heartbeats", widthMs: minuteMs });
    expect(answer.series.map(({ unit }) => unit)).toEqual(["%", "", "", "s"]);
    expect(answer.series.map(({ points }) => points)).toEqual([
      [
        { start: noon, min: 10, avg: 20, max: 30, last: 20, count: 3 },
        { start: second, min: 99, avg: 99, max: 99, last: 99, count: 1 },
      ],
      [{ start: noon, min: 2, avg: 3, max: 4, last: 2, count: 2 }],
      [],
      [
        { start: noon, min: 1, avg: 1, max: 1, last: 1, count: 3 },
        { start: second, min: 1, avg: 1, max: 1, last: 1, count: 1 },
      ],
    ]);
  });

  test("of roll-ups say the same as of heartbeats, with the newest minutes still from those", async () => {
    await using telemetry = await start();
    const id = randomUUID();
    const beats = Array.from({ length: 300 }, (_, n) =>
      beat(id, n + 1, n * 60, {
        batteryPercent: (n * 37) % 101,
        storageFreeBytes: 5e9 + n,
        metrics: { fan: (n * 13) % 29 },
      }),
    );
    await telemetry.store(beats);
    telemetry.clock.advance(300 * minuteMs);
    await telemetry.rollupJob.run();
    const ask = (maxPoints: number) =>
      telemetry.series.read({
        devices: { id },
        metrics: ["battery_percent", "storage_free_bytes", "metrics.fan"],
        from: noon,
        maxPoints,
      });
    for (const [maxPoints, source, widthMs] of [
      [60, "5m", 5 * minuteMs],
      [6, "1h", 60 * minuteMs],
    ] as const) {
      const answer = await ask(maxPoints);
      expect(answer).toMatchObject({ source, widthMs });
      expect(answer.series.map(({ points }) => points)).toEqual([
        expected(
          beats.map(({ receivedAt, batteryPercent = 0 }) => [receivedAt, batteryPercent]),
          widthMs,
        ),
        expected(
          beats.map(({ receivedAt, storageFreeBytes = 0 }) => [receivedAt, storageFreeBytes]),
          widthMs,
        ),
        expected(
          beats.map(({ receivedAt, metrics }) => [receivedAt, metrics?.["fan"] ?? 0]),
          widthMs,
        ),
      ]);
    }
  });

  test("of a group join its devices; the newest value is of the newest heartbeat", async () => {
    await using telemetry = await start();
    const [a, b, other] = await Promise.all([
      makeDevice(telemetry.pool, "pump"),
      makeDevice(telemetry.pool, "pump"),
      makeDevice(telemetry.pool, "lamp"),
    ]);
    await telemetry.store([beat(a, 1, 10, { cpuPercent: 10 }), beat(a, 2, 40, { cpuPercent: 20 })]);
    await telemetry.store([beat(b, 1, 30, { cpuPercent: 90 })]);
    await telemetry.store([beat(other, 1, 50, { cpuPercent: 1 })]);
    const point = { start: noon, min: 10, avg: 40, max: 90, last: 20, count: 3 };
    telemetry.clock.advance(90 * minuteMs);
    const ask = () =>
      telemetry.series.read({
        devices: { filter: "device_type = pump" },
        metrics: ["cpu_percent"],
        from: noon,
        maxPoints: 20,
      });
    expect((await ask()).series[0]?.points).toEqual([point]);
    await telemetry.rollupJob.run();
    expect(await ask()).toMatchObject({ source: "5m", series: [{ points: [point] }] });
  });

  test("name the metric that there is not, and refuse an empty span", async () => {
    await using telemetry = await start();
    const ask = (metrics: string[], from = noon) =>
      telemetry.series.read({
        devices: { id: randomUUID() },
        metrics,
        from,
        to: new Date(noon.getTime() + 1),
        maxPoints: 10,
      });
    await expect(ask(["cpu_percent", "battery"])).rejects.toMatchObject({
      code: "invalid_argument",
      fields: [{ field: "metrics[1]", description: expect.stringContaining('"battery"') }],
    });
    await expect(ask(["metrics."])).rejects.toMatchObject({ code: "invalid_argument" });
    await expect(ask(["cpu_percent"], new Date(noon.getTime() + 1))).rejects.toMatchObject({
      fields: [{ field: "start_time" }],
    });
  });

  test("cost what there is, not what is asked for: a span from the year 1 to 9000 is one from the oldest partition on", async () => {
    await using telemetry = await start();
    const id = randomUUID();
    await telemetry.store([beat(id, 1, 1, { cpuPercent: 10 })]);
    telemetry.clock.advance(3 * 60 * minuteMs);
    await telemetry.rollupJob.run();
    const ask = (from: string, to: string) =>
      telemetry.series.read({
        devices: { id },
        metrics: ["cpu_percent"],
        from: new Date(from),
        to: new Date(to),
        maxPoints: 2_000,
      });
    const answer = await ask("0001-01-01T00:00:00Z", "9000-01-01T00:00:00Z");
    // 2,000 points over 9,000 years would be five years wide each.
    expect(answer.widthMs).toBeLessThan(24 * 60 * minuteMs);
    expect(answer.series[0]?.points).toMatchObject([{ avg: 10, count: 1 }]);
    expect((await ask("0001-01-01T00:00:00Z", "1969-01-01T00:00:00Z")).series[0]?.points).toEqual([]);
    expect((await ask("5000-01-01T00:00:00Z", "9000-01-01T00:00:00Z")).series[0]?.points).toEqual([]);
  });

  test("of the largest numbers that there are have a mean", async () => {
    await using telemetry = await start();
    const id = randomUUID();
    const huge = Number.MAX_VALUE;
    const values = [huge, huge, -huge, huge, 1.5e300, 4, Number.MIN_VALUE];
    await telemetry.store(values.map((x, n) => beat(id, n + 1, n * 30, { metrics: { x } })));
    telemetry.clock.advance(4 * minuteMs);
    const answer = await telemetry.series.read({
      devices: { id },
      metrics: ["metrics.x"],
      from: noon,
      maxPoints: 1,
    });
    const [point, ...others] = answer.series[0]?.points ?? [];
    expect(others).toEqual([]);
    expect(point).toMatchObject({ min: -huge, max: huge, last: Number.MIN_VALUE, count: 7 });
    expect((point?.avg ?? 0) / huge).toBeCloseTo(2 / 7, 6);
  });

  test("by the device's time draw a day of backlog as a day; what its clock cannot be right about counts as it came", async () => {
    await using telemetry = await start();
    const { clock, series } = telemetry;
    const id = randomUUID();
    const minutes = 24 * 60;
    const made = (minute: number) => new Date(noon.getTime() + minute * minuteMs);
    clock.advance(minutes * minuteMs);
    await telemetry.store(
      Array.from({ length: minutes }, (_, n) =>
        beat(id, n + 1, minutes * 60, { cpuPercent: n % 100, deviceTime: made(n) }),
      ),
    );
    await telemetry.store([
      beat(id, minutes + 1, minutes * 60, { cpuPercent: 50, deviceTime: new Date(0) }),
      beat(id, minutes + 2, minutes * 60, { cpuPercent: 50, deviceTime: new Date("4020-01-01T00:00:00Z") }),
      beat(id, minutes + 3, minutes * 60, { cpuPercent: 50 }),
    ]);
    clock.advance(20 * minuteMs);
    await telemetry.rollupJob.run();
    const ask = (basis: "receive" | "device", to?: Date) =>
      series.read({ devices: { id }, metrics: ["cpu_percent"], from: noon, to, maxPoints: 60, basis });
    const [received] = (await ask("receive")).series;
    expect(received?.points.map(({ count }) => count)).toEqual([minutes + 3]);
    const answer = await ask("device");
    expect(answer).toMatchObject({ source: "heartbeats", widthMs: 30 * minuteMs });
    const counts = answer.series[0]?.points.map(({ count }) => count);
    expect(counts).toEqual([...Array.from({ length: 48 }, () => 30), 3]);
    const [hour] = (await ask("device", made(60))).series;
    expect(hour?.points.map(({ start, count }) => [start, count])).toEqual(
      Array.from({ length: 60 }, (_, n) => [made(n), 1]),
    );
  });

  test.each([
    // On the 25th of October 2026 clocks are set back there, on the 28th of March 2027 forward.
    ["Europe/Berlin", "2027-03-26T23:00:00Z", 4, [24, 23, 24, 24]],
    ["Europe/Berlin", "2026-10-23T22:00:00Z", 4, [24, 25, 24, 24]],
    // Midnight itself is skipped in Beirut on that day.
    ["Asia/Beirut", "2027-03-26T22:00:00Z", 3, [24, 23, 24]],
    ["Asia/Kolkata", "2027-04-01T18:30:00Z", 3, [24, 24, 24]],
    ["", "2027-03-28T00:00:00Z", 3, [24, 24, 24]],
  ] as const)(
    "by days of %s, from %s, have days as long as they are there",
    async (timeZone, begin, days, hours) => {
      await using telemetry = await start();
      const { pool, clock } = telemetry;
      const id = randomUUID();
      const fromMs = Date.parse(begin);
      const total = hours.reduce((sum, each) => sum + each, 0);
      await telemetry.partitions["5m"].ensure(new Date(fromMs));
      for (let day = -1; day <= days + 1; day++)
        await telemetry.partitions["5m"].ensure(new Date(fromMs + day * 24 * 60 * minuteMs));
      await pool.query(
        `INSERT INTO heartbeat_rollups_5m (device_id, bucket, last_received_at, count, cpu_min, cpu_max, cpu_sum, cpu_n, cpu_last)
       SELECT $1, at, at, 1, 1, 1, 1, 1, 1
       FROM generate_series($2::timestamptz, $2::timestamptz + $3 * interval '30 minutes', '30 minutes') at`,
        [id, begin, total * 2 - 1],
      );
      await pool.query("UPDATE rollup_progress SET next_bucket = '2028-01-01' WHERE resolution = '5m'");
      await pool.query("UPDATE rollup_progress SET next_bucket = '2000-01-01' WHERE resolution = '1h'");
      clock.advance(Math.max(0, fromMs + 10 * 24 * 60 * minuteMs - clock.now().getTime()));
      const { widthMs, series } = await telemetry.series.read({
        devices: { id },
        metrics: ["cpu_percent"],
        from: new Date(fromMs),
        to: new Date(fromMs + total * 60 * minuteMs),
        maxPoints: days,
        timeZone,
      });
      expect(widthMs).toBe(24 * 60 * minuteMs);
      let atMs = fromMs;
      const expected = hours.map((each) => {
        const start = new Date(atMs);
        atMs += each * 60 * minuteMs;
        return { start, count: each * 2 };
      });
      expect(series[0]?.points.map(({ start, count }) => ({ start, count }))).toEqual(expected);
    },
  );

  test("refuse what is no time zone", async () => {
    await using telemetry = await start();
    for (const timeZone of ["Mars/Olympus", "+02:00", "'; --"]) {
      const read = telemetry.series.read({
        devices: { id: randomUUID() },
        metrics: ["cpu_percent"],
        from: new Date(0),
        maxPoints: 1,
        timeZone,
      });
      await expect(read).rejects.toMatchObject({
        code: "invalid_argument",
        fields: [{ field: "time_zone" }],
      });
    }
  });
});

function expected(values: readonly (readonly [Date, number])[], widthMs: number) {
  const buckets = Map.groupBy(values, ([at]) => Math.floor(at.getTime() / widthMs) * widthMs);
  return [...buckets].map(([start, entries]) => {
    const numbers = entries.map(([, value]) => value);
    return {
      start: new Date(start),
      min: Math.min(...numbers),
      avg: numbers.reduce((sum, value) => sum + value, 0) / numbers.length,
      max: Math.max(...numbers),
      last: numbers.at(-1),
      count: numbers.length,
    };
  });
}
