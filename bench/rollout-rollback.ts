import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { RolloutService } from "../gen/ota/v1/rollout_service_pb.js";
import { type Cost, costOf } from "./harness/cost.ts";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { rowsWritten } from "./harness/rows-written.ts";
import { releaseFirmware } from "./load/admin.ts";
import { deviceIdOf } from "./load/fleet.ts";
import type { RunningFleet } from "./load/running-fleet.ts";

/** Devices that have the update when it is rolled back. */
const few = 1_000;
const many = 10_000;

/** Inserts and updates for these count. */
const tables = ["rollouts", "deployment_rings", "device_updates", "ring_key_counts", "audit_events"];

/** How often to look whether all devices are told. */
const pollMs = 10;

const finishMs = 120_000;

/** What rolling a rollout back costs for each device that has the update: the same for many as for few. */
export async function rolloutRollback({ fleet }: BenchOptions): Promise<BenchResult[]> {
  const running = await fleet.open();
  // Once unmeasured, so that statements are planned and pages are at hand for both.
  await rollBackRollout(running, "rollback-warm", 0, few);
  const less = await rollBackRollout(running, "rollback-few", few, few);
  const more = await rollBackRollout(running, "rollback-many", 2 * few, many);
  const note = `${many} devices that have the update against ${few}, in a fleet of ${running.devices}`;
  return [
    {
      bench: "rollback-device-time",
      value: more.milliseconds,
      unit: "ms a device",
      floor: less.milliseconds,
      target: "about 1",
      note: `until all have their rollback; ${note}`,
    },
    {
      bench: "rollback-device-cpu",
      value: more.cpuMicros,
      unit: "us CPU a device",
      floor: less.cpuMicros,
      target: "about 1",
      note: `service and PostgreSQL; ${note}`,
    },
    {
      bench: "rollback-device-rows",
      value: more.rows,
      unit: "rows written a device",
      floor: less.rows,
      target: "about 1",
      note,
    },
  ];
}

/** Rolls back a rollout that `devices` devices have proved; returns the cost of each. */
async function rollBackRollout(
  running: RunningFleet,
  productName: string,
  firstDevice: number,
  devices: number,
): Promise<{ milliseconds: number; cpuMicros: number; rows: number }> {
  const { admin, database } = running;
  const { method } = RolloutService;
  const release = (version: string) =>
    releaseFirmware(admin, {
      product: productName,
      version,
      deviceTypes: ["bench"],
      bytes: randomBytes(256),
    });
  const before = await release("1.0.0");
  const after = await release("2.0.0");
  const { rollout } = await admin.unary(method.createRollout, {
    firmwareId: after.id,
    rings: [{ name: "all", percent: 100, gate: { manual: true } }],
  });
  const id = rollout?.id ?? "";
  await admin.unary(method.startRollout, { id });
  await database.query(updatedSql, [id, before.id, deviceIdOf(firstDevice), devices]);
  await database.query(
    "UPDATE deployment_rings SET offered_count = $2, succeeded_count = $2 WHERE rollout_id = $1",
    [id, devices],
  );
  await database.query("VACUUM (ANALYZE) device_updates");
  let cost: Cost | undefined;
  const rows = await rowsWritten(database, tables, async () => {
    cost = await costOf(running, async () => {
      await admin.unary(method.rollbackRollout, { id });
      await allTold(database, id, devices);
    });
  });
  await admin.unary(method.abortRollout, { id });
  const { milliseconds = 0, serviceMicros = 0, postgresMicros = 0 } = cost ?? {};
  return {
    milliseconds: milliseconds / devices,
    cpuMicros: (serviceMicros + postgresMicros) / devices,
    rows: rows / devices,
  };
}

async function allTold(database: RunningFleet["database"], id: string, devices: number): Promise<void> {
  const deadline = performance.now() + finishMs;
  for (;;) {
    const { rows } = await database.query<{ told: string }>(
      "SELECT rollback_total - rollback_failed AS told FROM rollouts WHERE id = $1 AND rollback_plan IS NULL",
      [id],
    );
    const told = rows[0]?.told;
    if (Number(told) === devices) return;
    if (told !== undefined) throw new Error(`expected ${devices} devices to go back, got ${told}`);
    if (performance.now() > deadline) throw new Error("not all devices are told to go back");
    await delay(pollMs);
  }
}

/** As if these devices, from the device $3 on, had taken the update and proved it. */
const updatedSql = `
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, from_boot_id, offered_at, installing_at, proven_at, verify_until, deadline_at, ended_at)
  SELECT d.id, gen_random_uuid(), r.id, g.id, r.firmware_id, 'INSTALL', 'SUCCEEDED', '1.0.0',
    $2::uuid, '2.0.0', 'boot', now() - interval '1 hour', now() - interval '50 minutes', now() - interval '40 minutes',
    now() - interval '35 minutes', now() + interval '1 day', now() - interval '30 minutes'
  FROM rollouts r JOIN deployment_rings g ON g.rollout_id = r.id,
    LATERAL (SELECT id FROM devices WHERE id >= $3::uuid ORDER BY id LIMIT $4) d
  WHERE r.id = $1::uuid`;
