import { randomBytes } from "node:crypto";
import pg from "pg";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import { RpcClient } from "../src/client/rpc-client.ts";
import type { BenchResult } from "./harness/result.ts";
import { releaseFirmware } from "./load/admin.ts";
import { seedFleet } from "./load/fleet.ts";
import { startProduct } from "./processes.ts";

/** How many rollouts are started for each figure; the median counts. */
const starts = 15;

/** Time and rows written to start a rollout over a small and over a large fleet: they should be the same. */
export async function rolloutStart(options: { quick: boolean }): Promise<BenchResult[]> {
  const large = options.quick ? 100_000 : 1_000_000;
  const few = await startOver(1_000);
  const many = await startOver(large);
  return [
    {
      bench: "rollout-start-time",
      value: many.milliseconds,
      unit: "ms",
      floor: few.milliseconds,
      target: "about 1",
      note: `median of ${starts} starts over ${large} devices against 1,000`,
    },
    {
      bench: "rollout-start-rows",
      value: many.rows,
      unit: "rows written",
      floor: few.rows,
      target: "1",
      note: `inserts and updates a start, ${large} devices against 1,000`,
    },
  ];
}

async function startOver(devices: number): Promise<{ milliseconds: number; rows: number }> {
  await using product = await startProduct();
  await seedFleet(product.ready.databaseUrl, devices);
  using admin = new RpcClient({ address: product.ready.grpcAddress, token: product.ready.adminToken });
  const database = new pg.Client({ connectionString: product.ready.databaseUrl });
  await database.connect();
  try {
    const times: number[] = [];
    let rows = 0;
    for (let index = 0; index < starts; index++) {
      const firmware = await releaseFirmware(admin, {
        product: `product-${index}`,
        version: "2.0.0",
        deviceTypes: ["bench"],
        bytes: randomBytes(256),
      });
      const { rollout } = await admin.unary(RolloutService.method.createRollout, { firmwareId: firmware.id });
      const before = await rowsWritten(database);
      const started = performance.now();
      await admin.unary(RolloutService.method.startRollout, { id: rollout?.id ?? "" });
      times.push(performance.now() - started);
      rows += (await rowsWritten(database)) - before;
    }
    times.sort((a, b) => a - b);
    return { milliseconds: times[Math.floor(starts / 2)] ?? 0, rows: rows / starts };
  } finally {
    await database.end();
  }
}

/** Inserts and updates of rollout tables so far; the server publishes its counts when a transaction's backend idles. */
async function rowsWritten(database: pg.Client): Promise<number> {
  await database.query("SELECT pg_sleep(1.1), pg_stat_clear_snapshot()");
  const { rows } = await database.query<{ written: string }>(
    `SELECT sum(n_tup_ins + n_tup_upd) AS written FROM pg_stat_user_tables
      WHERE relname IN ('rollouts', 'deployment_rings', 'device_updates', 'audit_events')`,
  );
  return Number(rows[0]?.written ?? 0);
}
