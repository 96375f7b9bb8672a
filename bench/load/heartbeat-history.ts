import type pg from "pg";
import { timed } from "../harness/timing.ts";

/** A beat a minute for a day. */
export const beatsEach = 1_440;

export const dayMs = 86_400_000;

/** Puts a day of heartbeats of all devices into the database, one each so many minutes, in the order of time, as they would have come. */
export async function seedHeartbeats(database: pg.Client, day: Date, everyMinutes = 1): Promise<void> {
  const name = `device_heartbeats_${day.toISOString().slice(0, 10).replaceAll("-", "")}`;
  const end = new Date(day.getTime() + dayMs);
  await database.query(`CREATE TABLE IF NOT EXISTS ${name} PARTITION OF device_heartbeats
    FOR VALUES FROM ('${day.toISOString()}') TO ('${end.toISOString()}')`);
  // An hour at a time: one statement would hold all of it in memory for the sort.
  for (let minute = 0; minute < beatsEach; minute += 60) {
    await database.query(
      `INSERT INTO device_heartbeats (device_id, received_at, sequence, epoch, device_time, firmware_version, boot_id, uptime_ms,
         battery_percent, charging, cpu_percent, memory_percent, storage_free_bytes, temperature_celsius, latitude, longitude,
         accuracy_meters, network, signal_dbm, carrier, security_counter)
       SELECT d.id, date_trunc('milliseconds', $1::timestamptz + m * interval '1 minute' + random() * interval '59 seconds'), m + 1, 1, now(), '1.0.0',
         '3f7c9a3e-3b1d-4b6f-8d0a-0c3b1c2d3e4f', m * 60000, 40 + random() * 60, false, random() * 100, random() * 100,
         1e9 + m, 20 + random() * 10, 52 + random(), 13 + random(), 5, 'WIFI', -67, 'Carrier', 1
       FROM generate_series($2::integer, $2::integer + 59, $3::integer) m, devices d ORDER BY m`,
      [day, minute, everyMinutes],
    );
  }
  await database.query("ANALYZE device_heartbeats");
}

/** Has the service roll everything up from the beginning; returns how long that took. */
export async function rollUp(database: pg.Client, day: Date): Promise<number> {
  return timed(async () => {
    await database.query("DELETE FROM rollup_progress");
    for (;;) {
      const { rows } = await database.query<{ next: Date }>(
        "SELECT next_bucket AS next FROM rollup_progress WHERE resolution = '1h'",
      );
      if ((rows[0]?.next.getTime() ?? 0) >= day.getTime() + dayMs) return;
      await database.query("SELECT pg_sleep(0.5)");
    }
  });
}
