import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import pg from "pg";
import { HeartbeatService } from "../gen/ota/v1/heartbeat_service_pb.js";
import { TelemetryService } from "../gen/ota/v1/telemetry_service_pb.js";
import { RpcClient } from "../src/client/rpc-client.ts";
import { costOf } from "./harness/cost.ts";
import { PostgresCpu } from "./harness/postgres-cpu.ts";
import type { BenchResult } from "./harness/result.ts";
import { sizeOf } from "./harness/table-size.ts";
import { timed } from "./harness/timing.ts";
import { seedFleet } from "./load/fleet.ts";
import { beatsEach, dayMs, rollUp, seedHeartbeats } from "./load/heartbeat-history.ts";
import { startProduct } from "./processes.ts";

/** Heartbeats that there are: DEVICE_OTA_BENCH_HEARTBEATS overrides it, for example with 50000000. */
const defaultHeartbeats = 5_000_000;

/** Calls of each kind; the median counts. Each asks for another device, so that none finds its pages warm. */
const calls = 51;

/** Calls before those, of other devices. */
const warmUpCalls = 25;

/** What questions over many heartbeats cost, beside the plain SQL that answers them, and how much room they take. */
export async function queries(options: { quick: boolean }): Promise<BenchResult[]> {
  const wanted = Number(
    process.env["DEVICE_OTA_BENCH_HEARTBEATS"] ?? (options.quick ? 300_000 : defaultHeartbeats),
  );
  const devices = Math.max((calls + warmUpCalls) * 2, Math.round(wanted / beatsEach));
  await using product = await startProduct();
  await seedFleet(product.ready.databaseUrl, devices);
  using admin = new RpcClient({ address: product.ready.grpcAddress, token: product.ready.adminToken });
  const database = new pg.Client({ connectionString: product.ready.databaseUrl });
  await database.connect();
  try {
    // Yesterday, so that all of it is due to be rolled up.
    const day = new Date(Math.floor(Date.now() / dayMs - 1) * dayMs);
    await seedHeartbeats(database, day);
    const rows = devices * beatsEach;
    const postgres = await PostgresCpu.of(database);
    const rolledUp = await costOf({ product, postgres }, () => rollUp(database, day));
    const grouped = await postgres.during(() => database.query(groupingSql));
    const { rows: ids } = await database.query<{ id: string }>(
      "SELECT id FROM devices ORDER BY random() LIMIT $1",
      [(calls + warmUpCalls) * 2],
    );
    const [ours = [], floors = []] = [ids.slice(0, calls + warmUpCalls), ids.slice(calls + warmUpCalls)].map(
      (part) => part.map(({ id }) => id),
    );
    const note = `${rows} heartbeats of ${devices} devices over a day; median of ${calls}, by gRPC against the SQL alone`;
    const end = new Date(day.getTime() + dayMs);
    return [
      {
        bench: "history-page",
        value: await median(ours, (deviceId) =>
          admin.unary(HeartbeatService.method.listHeartbeats, { deviceId, pageSize: 50 }),
        ),
        floor: await median(floors, (id) =>
          database.query(
            "SELECT * FROM device_heartbeats WHERE device_id = $1 ORDER BY received_at DESC, sequence DESC LIMIT 51",
            [id],
          ),
        ),
        unit: "ms",
        target: "milliseconds",
        note: `50 newest heartbeats; ${note}`,
      },
      {
        bench: "day-series",
        value: await median(ours, (deviceId) =>
          admin.unary(TelemetryService.method.querySeries, {
            deviceId,
            metrics: ["battery_percent"],
            startTime: timestampFromDate(day),
            endTime: timestampFromDate(end),
            maxPoints: 300,
          }),
        ),
        floor: await median(floors, (id) =>
          database.query(
            `SELECT date_bin('5 minutes', received_at, 'epoch'), min(battery_percent), avg(battery_percent), max(battery_percent)
             FROM device_heartbeats WHERE device_id = $1 AND received_at >= $2 AND received_at < $3 GROUP BY 1 ORDER BY 1`,
            [id, day, end],
          ),
        ),
        unit: "ms",
        target: "milliseconds",
        note: `a day's battery in 300 points, from roll-ups against from the heartbeats; ${note}`,
      },
      {
        bench: "roll-up",
        value: (rolledUp.serviceMicros + rolledUp.postgresMicros) / rows,
        floor: grouped / rows,
        unit: "us CPU a heartbeat",
        target: "value <= 5",
        note: `both resolutions, all metrics, service and PostgreSQL, against one GROUP BY of one metric; ${(rolledUp.milliseconds / 1_000).toFixed(0)} s with waits between rounds`,
      },
      {
        bench: "disk",
        value: (await sizeOf(database, "device_heartbeats")) / rows,
        floor:
          ((await sizeOf(database, "heartbeat_rollups_5m")) +
            (await sizeOf(database, "heartbeat_rollups_1h"))) /
          rows,
        unit: "bytes a heartbeat",
        target: "",
        note: "table with indexes, against its roll-ups",
      },
    ];
  } finally {
    await database.end();
  }
}

/** The least that a roll-up does: reads all, and adds one metric up by device and five minutes. */
const groupingSql = `
  SELECT device_id, date_bin('5 minutes', received_at, 'epoch'), count(*), sum(battery_percent)
    FROM device_heartbeats GROUP BY 1, 2 OFFSET 1000000000`;

async function median(ids: readonly string[], call: (id: string) => Promise<unknown>): Promise<number> {
  // The first calls of a process compile it: that took more than the calls themselves, and a service runs for weeks.
  for (const id of ids.slice(0, warmUpCalls)) await call(id);
  const times: number[] = [];
  for (const id of ids.slice(warmUpCalls)) times.push(await timed(() => call(id)));
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? 0;
}
