import { randomBytes } from "node:crypto";
import pg from "pg";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import { RpcClient } from "../src/client/rpc-client.ts";
import type { BenchResult } from "./harness/result.ts";
import { releaseFirmware } from "./load/admin.ts";
import { deviceIdOf, seedFleet } from "./load/fleet.ts";
import { startProduct } from "./processes.ts";

/** Calls for each figure; the least counts of previews, since noise only adds, and the median of explanations. */
const previews = 4;
const explanations = 300;

/**
 * A preview of a large fleet beside the plain scan that it cannot do without, and an explanation beside the smallest call of
 * the same service.
 */
export async function rolloutForesight(options: { quick: boolean }): Promise<BenchResult[]> {
  const devices = options.quick ? 100_000 : 1_000_000;
  await using product = await startProduct();
  await seedFleet(product.ready.databaseUrl, devices);
  using admin = new RpcClient({ address: product.ready.grpcAddress, token: product.ready.adminToken });
  const firmware = await releaseFirmware(admin, {
    product: "product",
    version: "2.0.0",
    deviceTypes: ["bench"],
    bytes: randomBytes(1024),
  });
  const { method } = RolloutService;
  const { rollout } = await admin.unary(method.createRollout, {
    firmwareId: firmware.id,
    policy: { maintenanceWindows: [{ start: "02:00", duration: { seconds: 14_400n } }], maxMeteredBytes: 1n },
  });
  const id = rollout?.id ?? "";
  const database = new pg.Client({ connectionString: product.ready.databaseUrl });
  await database.connect();
  try {
    const preview: number[] = [];
    const scan: number[] = [];
    for (let round = 0; round < previews; round++) {
      preview.push(
        await timed(async () => {
          const { targetedCount } = await admin.unary(
            method.previewRollout,
            { rolloutId: id },
            { timeoutMs: 60_000 },
          );
          if (Number(targetedCount) !== devices) throw new Error(`expected ${devices}, got ${targetedCount}`);
        }),
      );
      scan.push(await timed(() => database.query(scanSql)));
    }
    const explain: number[] = [];
    const get: number[] = [];
    for (let call = 0; call < explanations; call++) {
      const deviceId = deviceIdOf((call * 7_919) % devices);
      explain.push(await timed(() => admin.unary(method.explainUpdate, { rolloutId: id, deviceId })));
      get.push(await timed(() => admin.unary(method.getRollout, { id })));
    }
    return [
      {
        bench: "rollout-preview",
        value: Math.min(...preview),
        unit: "ms",
        floor: Math.min(...scan),
        target: "<= 2, and a second for a million",
        note: `${devices} devices against a join of them with their state, counted by model and version`,
      },
      {
        bench: "rollout-explain",
        value: median(explain),
        unit: "ms a call",
        floor: median(get),
        target: "<= 2",
        note: `one call at a time, against GetRollout; ${devices} devices, not in memory before`,
      },
    ];
  } finally {
    await database.end();
  }
}

const scanSql = `
  SELECT d.hardware_model, s.firmware_version, count(*) FROM devices d
    LEFT JOIN device_state s ON s.device_id = d.id
  WHERE NOT d.is_deleted GROUP BY 1, 2`;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function median(times: number[]): number {
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? 0;
}
