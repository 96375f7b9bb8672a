import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { beat, noon, startTelemetry } from "./telemetry-fixture.ts";

type Telemetry = Awaited<ReturnType<typeof startTelemetry>>;

const minuteMs = 60_000;

async function rollups({ pool }: Telemetry, table: "5m" | "1h", deviceId: string) {
  const { rows } = await pool.query(
    `SELECT bucket, count, battery_min AS min, battery_max AS max, battery_sum AS sum, coalesce(battery_n, count) AS n,
       battery_last AS last, uptime_max AS uptime, signal_n, metrics FROM heartbeat_rollups_${table}
     WHERE device_id = $1 ORDER BY bucket`,
    [deviceId],
  );
  return rows;
}

describe("roll-ups", () => {
  test("hold count, lowest, highest, sum, number and newest of each metric", async () => {
    await using telemetry = await startTelemetry();
    const job = telemetry.job();
    await job.run();
    const id = randomUUID();
    await telemetry.store([
      beat(id, 1, 10, { batteryPercent: 50, metrics: { fan: 3, door: 1 } }),
      // Of equal time the higher sequence is the newer.
      beat(id, 2, 20, { batteryPercent: 70, metrics: { fan: 1 } }),
      beat(id, 3, 20, { batteryPercent: 60, uptimeMs: 9_500, metrics: { fan: 2 } }),
      beat(id, 4, 30),
      beat(id, 5, 300, { batteryPercent: 10 }),
    ]);
    telemetry.clock.advance(61 * minuteMs);
    await job.run();
    expect(await rollups(telemetry, "5m", id)).toEqual([
      {
        bucket: noon,
        count: 4,
        min: 50,
        max: 70,
        sum: 180,
        n: 3,
        last: 60,
        uptime: 9.5,
        signal_n: 0,
        metrics: { fan: [1, 3, 6, 3, 2], door: [1, 1, 1, 1, 1] },
      },
      expect.objectContaining({
        bucket: new Date(noon.getTime() + 5 * minuteMs),
        count: 1,
        last: 10,
        metrics: null,
      }),
    ]);
    expect(await rollups(telemetry, "1h", id)).toEqual([
      {
        bucket: noon,
        count: 5,
        min: 10,
        max: 70,
        sum: 190,
        n: 4,
        last: 10,
        uptime: 9.5,
        signal_n: 0,
        metrics: { fan: [1, 3, 6, 3, 2], door: [1, 1, 1, 1, 1] },
      },
    ]);
  });

  test("wait a minute after the end of a bucket", async () => {
    await using telemetry = await startTelemetry();
    const job = telemetry.job();
    await job.run();
    telemetry.clock.advance(6 * minuteMs - 1);
    await job.run();
    expect((await job.progress())["5m"]).toEqual(noon);
    telemetry.clock.advance(1);
    await job.run();
    expect((await job.progress())["5m"]).toEqual(new Date(noon.getTime() + 5 * minuteMs));
  });

  test("begin with the oldest heartbeats there are, and catch up after an outage of days", async () => {
    await using telemetry = await startTelemetry();
    const id = randomUUID();
    await telemetry.store([beat(id, 1, 0, { batteryPercent: 1 })]);
    telemetry.clock.advance(3 * 24 * 60 * minuteMs);
    const job = telemetry.job();
    await job.run();
    expect(await rollups(telemetry, "5m", id)).toHaveLength(1);
    expect(await rollups(telemetry, "1h", id)).toHaveLength(1);
    const { "5m": until } = await job.progress();
    expect(until.getTime()).toBeGreaterThan(telemetry.clock.now().getTime() - 7 * minuteMs);
  });

  test("are the same from many shards and several replicas at once", async () => {
    await using telemetry = await startTelemetry({ rowsPerShard: 3 });
    const jobs = [telemetry.job(), telemetry.job(), telemetry.job()];
    await jobs[0]?.run();
    const ids = Array.from({ length: 20 }, () => randomUUID());
    for (const id of ids)
      await telemetry.store([1, 2, 3].map((n) => beat(id, n, n * 10, { batteryPercent: n })));
    telemetry.clock.advance(61 * minuteMs);
    await Promise.all(jobs.map((job) => job.run()));
    await jobs[1]?.run();
    for (const id of ids) {
      expect(await rollups(telemetry, "5m", id)).toMatchObject([{ count: 3, sum: 6, last: 3 }]);
      expect(await rollups(telemetry, "1h", id)).toMatchObject([{ count: 3, sum: 6, last: 3 }]);
    }
  });

  test("take in what comes late, be it after an outage or by a clock that was set back", async () => {
    await using telemetry = await startTelemetry();
    const job = telemetry.job();
    await job.run();
    const id = randomUUID();
    await telemetry.store([beat(id, 1, 10, { batteryPercent: 50 })]);
    telemetry.clock.advance(130 * minuteMs);
    await job.run();
    job.observe(await telemetry.store([beat(id, 2, 20, { batteryPercent: 90 })]));
    await job.run();
    expect(await rollups(telemetry, "5m", id)).toMatchObject([{ count: 2, max: 90 }]);
    expect(await rollups(telemetry, "1h", id)).toMatchObject([{ count: 2, max: 90 }]);

    // Back by more than two hours: the times come again.
    telemetry.clock.setWallClock(new Date(noon.getTime() + 2 * minuteMs));
    job.observe(await telemetry.store([beat(id, 3, 120, { batteryPercent: 95 })]));
    await job.run();
    expect(await rollups(telemetry, "5m", id)).toMatchObject([{ count: 3, max: 95 }]);
    expect(await rollups(telemetry, "1h", id)).toMatchObject([{ count: 3, max: 95 }]);
  });

  test("are made anew after a replica died right after it stored what came late", async () => {
    await using telemetry = await startTelemetry();
    const first = telemetry.job();
    await first.run();
    const id = randomUUID();
    await telemetry.store([beat(id, 1, 10, { batteryPercent: 50 })]);
    telemetry.clock.advance(130 * minuteMs);
    await first.run();
    const late = [beat(id, 2, 20, { batteryPercent: 90 })];
    await first.prepare(late);
    await telemetry.store(late);
    // It is told of nothing any more; another replica goes on.
    await first.close();
    await telemetry.job().run();
    expect(await rollups(telemetry, "5m", id)).toMatchObject([{ count: 2, max: 90 }]);
    expect(await rollups(telemetry, "1h", id)).toMatchObject([{ count: 2, max: 90 }]);
  });

  test("are not made anew while what came late may not be stored yet", async () => {
    await using telemetry = await startTelemetry({ redoAfterMs: 60_000 });
    const job = telemetry.job();
    await job.run();
    telemetry.clock.advance(130 * minuteMs);
    await job.run();
    const late = [beat(randomUUID(), 1, 20)];
    await job.prepare(late);
    await job.run();
    const notes = () => telemetry.pool.query("SELECT bucket FROM late_buckets");
    expect((await notes()).rows).toEqual([{ bucket: noon }]);
    // It is noted: one note serves for a while.
    expect(job.prepare(late)).toBeUndefined();
    await telemetry.pool.query("UPDATE late_buckets SET created_at = now() - interval '61 seconds'");
    await job.run();
    expect((await notes()).rows).toEqual([]);
  });

  test("keep the largest sum there is if one does not fit, and go on", async () => {
    await using telemetry = await startTelemetry();
    const job = telemetry.job();
    await job.run();
    const id = randomUUID();
    const huge = { temperatureCelsius: -3e38, metrics: { huge: 1.7e308 } };
    await telemetry.store([beat(id, 1, 10, huge), beat(id, 2, 20, huge), beat(id, 3, 30)]);
    telemetry.clock.advance(61 * minuteMs);
    await job.run();
    for (const table of ["5m", "1h"]) {
      const { rows } = await telemetry.pool.query(
        `SELECT temperature_sum, temperature_n, metrics FROM heartbeat_rollups_${table} WHERE device_id = $1`,
        [id],
      );
      expect(rows).toEqual([
        {
          temperature_sum: -3.402_823_5e38,
          temperature_n: 2,
          metrics: { huge: [1.7e308, 1.7e308, Number.MAX_VALUE, 2, 1.7e308] },
        },
      ]);
    }
  });

  test("are dropped by day and by week after their retention", async () => {
    await using telemetry = await startTelemetry();
    await telemetry.partitions["5m"].maintain();
    await telemetry.partitions["1h"].maintain();
    const hourDays = await telemetry.partitions["1h"].days();
    expect(hourDays[0]).toEqual(new Date("2026-06-04"));
    expect(hourDays[1]).toEqual(new Date("2026-06-11"));
    telemetry.clock.advance(31 * 24 * 60 * minuteMs);
    await telemetry.partitions["5m"].maintain();
    await telemetry.partitions["1h"].maintain();
    expect((await telemetry.partitions["5m"].days())[0]).toEqual(new Date("2026-06-11"));
    expect((await telemetry.partitions["1h"].days())[0]).toEqual(new Date("2026-06-04"));
  });

  test("a clock that runs ahead of the database's drops nothing", async () => {
    await using telemetry = await startTelemetry();
    const today = new Date();
    await telemetry.partitions["5m"].ensure(today);
    telemetry.clock.advance(10 * 365 * 24 * 60 * minuteMs);
    await telemetry.partitions["5m"].maintain();
    expect(await telemetry.partitions["5m"].days()).toContainEqual(
      new Date(`${today.toISOString().slice(0, 10)}T00:00:00Z`),
    );
  });
});
