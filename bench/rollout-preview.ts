import { randomBytes } from "node:crypto";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { median, timed } from "./harness/timing.ts";
import { releaseFirmware } from "./load/admin.ts";
import { deviceIdOf } from "./load/fleet.ts";

/** Calls for each figure; the least counts of previews, since noise only adds, and the median of explanations. */
const previews = 4;
const explanations = 300;

/**
 * A preview of a large fleet beside the plain scan that it cannot do without, and an explanation beside the smallest call of
 * the same service.
 */
export async function rolloutPreview({ fleet }: BenchOptions): Promise<BenchResult[]> {
  const { admin, database, devices } = await fleet.open();
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
}

const scanSql = `
  SELECT d.hardware_model, s.firmware_version, count(*) FROM devices d
    LEFT JOIN device_state s ON s.device_id = d.id
  WHERE NOT d.is_deleted GROUP BY 1, 2`;
