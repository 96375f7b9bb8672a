import { v7 as uuidv7 } from "uuid";
import type { Cause } from "../../call/cause.ts";
import { illegalTransition, notFound, OtaError } from "../../errors.ts";
import { sql } from "../../infra/database/sql.ts";
import { type DeviceUpdateRecord, readDeviceUpdates } from "../model/device-update-list.ts";
import { isFinalUpdate } from "../model/device-update-state.ts";
import type { Rollout } from "../model/rollout.ts";
import { allowedVerbs, isActive } from "../model/rollout-state.ts";
import type { RolloutTransaction } from "../model/rollout-transactions.ts";
import { insertTriesSql } from "../proof/next-try.ts";
import { rollBackDevices } from "./roll-back-devices.ts";
import { planWaiting } from "./rollback.ts";

/**
 * Rolls a rollout's update back from one device, in a transaction that has the rollout locked. Returns its rollback, or its
 * update as it ended if nothing had been installed, or if the rollback waits for the device's update of another component to
 * end. `NOT_FOUND` if the device has no part in the rollout.
 */
export async function rollBackDevice(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceId: string,
  by: Cause,
): Promise<DeviceUpdateRecord> {
  const before = await newest(tx, rollout, deviceId);
  if (before.action === "ROLLBACK") return before;
  requireActive(rollout, "roll back a device of");
  await rollBackDevices(tx, rollout, [deviceId], null, tx.now.toISOString());
  await planWaiting(tx, rollout);
  const after = await newest(tx, rollout, deviceId);
  await record(tx, rollout, "rollout.rollback_device", by, {
    device_id: deviceId,
    from: before.state,
    to: after.action === "ROLLBACK" ? `ROLLBACK to ${after.toVersion} ${after.state}` : after.state,
  });
  return after;
}

/**
 * Lets a device try again, now, whose update failed or timed out, or which waits for its next try. Returns the try that
 * failed. `ILLEGAL_TRANSITION` if it did not fail, was rolled back, or is at another update.
 */
export async function retryDevice(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceId: string,
  by: Cause,
): Promise<DeviceUpdateRecord> {
  requireActive(rollout, "retry a device of");
  const last = await newest(tx, rollout, deviceId);
  const now = tx.now.toISOString();
  if (last.state === "OFFERED" && last.attempt > 1) {
    await tx.run(tryNowSql, [deviceId, last.id]);
  } else {
    if (last.action === "ROLLBACK" || (last.state !== "FAILED" && last.state !== "TIMED_OUT")) {
      throw illegalTransition("device update", "retry", last.state, []);
    }
    await requireFree(tx, deviceId);
    await tx.run(failedSql, [deviceId, last.id, now]);
    const deadline = new Date(tx.now.getTime() + rollout.policy.deviceTimeoutMs).toISOString();
    // Which boot it is in is not known here: any that shows the version will do.
    const values = [deviceId, last.id, uuidv7(), "", now, now, deadline];
    await tx.run(
      insertTriesSql,
      values.map((value) => [value]),
    );
  }
  await record(tx, rollout, "rollout.retry_device", by, {
    device_id: deviceId,
    failure_reason: last.failureReason,
    attempt: String(last.attempt + 1),
  });
  const tries = await readDeviceUpdates(tx, { rolloutId: rollout.id, deviceId, states: [] }, { limit: 2 });
  return tries.find(({ state }) => isFinalUpdate(state)) ?? last;
}

function requireActive({ state }: Rollout, verb: string): void {
  if (isActive(state)) return;
  throw illegalTransition("rollout", verb, state, allowedVerbs(state));
}

async function requireFree(tx: RolloutTransaction, deviceId: string): Promise<void> {
  const [row] = await tx.query<{ retired: boolean; busy: boolean }>(freeSql, [deviceId]);
  if (row === undefined || row.retired) throw notFound("device", deviceId);
  if (!row.busy) return;
  throw new OtaError("failed_precondition", "ILLEGAL_TRANSITION", "the device is at another update", {
    metadata: { device_id: deviceId },
  });
}

async function newest(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceId: string,
): Promise<DeviceUpdateRecord> {
  const [found] = await readDeviceUpdates(tx, { rolloutId: rollout.id, deviceId, states: [] }, { limit: 1 });
  if (found === undefined) throw notFound("device update of device", deviceId);
  return found;
}

async function record(
  tx: RolloutTransaction,
  rollout: Rollout,
  action: string,
  by: Cause,
  details: Readonly<Record<string, string>>,
): Promise<void> {
  tx.changed(rollout.id);
  await tx.audit.record(tx.em, {
    actor: by.actor,
    action,
    resourceType: "rollout",
    resourceId: rollout.id,
    reason: by.reason,
    details,
  });
}

const tryNowSql = sql`
  UPDATE device_updates SET not_before = NULL, updated_at = clock_timestamp()
  WHERE device_id = $1::uuid AND id = $2::uuid AND ended_at IS NULL`;

const freeSql = sql`
  SELECT d.is_deleted AS retired,
    EXISTS (SELECT 1 FROM device_updates u WHERE u.device_id = d.id AND u.ended_at IS NULL) AS busy
  FROM devices d WHERE d.id = $1::uuid FOR SHARE OF d`;

/** Device $1 no more counts as failed by its update $2: another try follows. */
const failedSql = sql`
  UPDATE device_updates SET retry_at = $3::timestamptz, updated_at = now() WHERE device_id = $1::uuid AND id = $2::uuid`;
