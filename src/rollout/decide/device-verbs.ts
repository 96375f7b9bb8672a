import type { Cause } from "../../call/cause.ts";
import { illegalTransition, notFound, nothingToDo, OtaError } from "../../errors.ts";
import { assertNotRecalled } from "../../firmware/recalls.ts";
import { sql } from "../../infra/database/sql.ts";
import { type DeviceUpdateRecord, readDeviceUpdates } from "../model/device-update-list.ts";
import { isFinalUpdate } from "../model/device-update-state.ts";
import type { Rollout } from "../model/rollout.ts";
import { recordRollout } from "../model/rollout-audit.ts";
import { allowedVerbs, isActive } from "../model/rollout-state.ts";
import { type RolloutTransaction, readRollout } from "../model/rollout-transactions.ts";
import { newUpdateId } from "../model/update-id.ts";
import { deviceEffect, nothing, retryEffect, type SteeredUpdate } from "../model/verb-effect.ts";
import { insertTries } from "../proof/insert-tries.ts";
import { rollBackAgain } from "./roll-back-again.ts";
import { rollBackDevices } from "./roll-back-devices.ts";
import { planWaiting } from "./rollback.ts";

/**
 * Rolls a rollout's update back from one device, in a transaction that has the rollout locked. Returns its rollback, or its
 * update as it ended if nothing had been installed, or if the rollback waits for the device's update of another component to
 * end; unchanged, if that was so before. `NOTHING_TO_DO` if the device never installed the update from this rollout, or does
 * not have it any more. `ROLLBACK_TARGET_MISSING`, `ROLLBACK_TARGET_REFUSED`,
 * `ROLLBACK_TARGET_RECALLED` or `ROLLBACK_BLOCKED_BY_SECURITY_COUNTER` if it must not go back: then it stays as it is. A rollback that failed is made again.
 */
export async function rollBackDevice(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceId: string,
  by: Cause,
): Promise<SteeredUpdate> {
  const before = await newest(tx, rollout, deviceId);
  if (before.action === "ROLLBACK") return await rollBackOnceMore(tx, rollout, before, by);
  requireActive(rollout, "roll back a device of");
  await rollBackDevices(tx, rollout, [deviceId], null, tx.now.toISOString());
  await planWaiting(tx, rollout);
  const effect = deviceEffect(rollout, await readRollout(tx, rollout.id));
  const after = await newest(tx, rollout, deviceId);
  if (effect === undefined) return { ...after, effect: nothing(await wayBackWords(tx, rollout, after)) };
  if (effect.blocked > 0) throw cannotGoBack(after);
  await record(tx, rollout, "rollout.rollback_device", by, {
    device_id: deviceId,
    from: before.state,
    to: after.action === "ROLLBACK" ? `ROLLBACK to ${after.toVersion} ${after.state}` : after.state,
  });
  return { ...after, effect };
}

/**
 * Lets a device try again, now, whose update failed or timed out, which drifted, or which waits for its next try; with
 * `reinstall` also one that runs what it installed. Returns the try that failed or drifted; unchanged, if the device may try
 * again already. `ILLEGAL_TRANSITION` if it has no need, was rolled back, or is at another update; `NOTHING_TO_DO` if it was
 * never offered the update; `FIRMWARE_RECALLED` if nobody may have it.
 */
export async function retryDevice(
  tx: RolloutTransaction,
  rollout: Rollout,
  deviceId: string,
  by: Cause,
  reinstall = false,
): Promise<SteeredUpdate> {
  requireActive(rollout, "retry a device of");
  await assertNotRecalled(tx, { id: rollout.firmwareId, version: rollout.version });
  const last = await newest(tx, rollout, deviceId);
  const now = tx.now.toISOString();
  let granted = 1;
  if (last.state === "OFFERED" && last.attempt > 1 && last.action !== "ROLLBACK") {
    granted = await tx.run(tryNowSql, [deviceId, last.id, now]);
  } else {
    if (!mayTryAgain(last, reinstall)) throw needsNoRetry(last);
    await requireFree(tx, deviceId);
    await tx.run(failedSql, [deviceId, last.id, now]);
    await insertTries(tx, [
      {
        deviceId,
        failedId: last.id,
        id: newUpdateId(tx.now, last.id),
        // Which boot it is in is not known here: any that shows the version will do.
        fromBootId: "",
        madeAt: tx.now,
        notBefore: tx.now,
        deadlineAt: new Date(tx.now.getTime() + rollout.policy.deviceTimeoutMs),
      },
    ]);
  }
  const tries = await readDeviceUpdates(tx, { rolloutId: rollout.id, deviceId, states: [] }, { limit: 2 });
  const failed = tries.find(({ state }) => isFinalUpdate(state)) ?? last;
  if (granted === 0) return { ...failed, effect: nothing(`the device may make try ${last.attempt} already`) };
  await record(tx, rollout, "rollout.retry_device", by, {
    device_id: deviceId,
    failure_reason: last.failureReason,
    attempt: String(last.attempt + 1),
  });
  return { ...failed, effect: retryEffect() };
}

function needsNoRetry({ action, state, toVersion }: DeviceUpdateRecord): OtaError {
  const what = action === "ROLLBACK" ? `its rollback to ${toVersion}` : `its update to ${toVersion}`;
  return new OtaError(
    "failed_precondition",
    "ILLEGAL_TRANSITION",
    `cannot retry the device: ${what} is ${state}, and only an update that FAILED or TIMED_OUT, or whose device drifted, can be tried again; with reinstall, one that SUCCEEDED`,
    { metadata: { resource: "device update", verb: "retry", state, allowed: "" } },
  );
}

/** Rolls a device back again whose rollback is over and failed; the others stay as they are. */
async function rollBackOnceMore(
  tx: RolloutTransaction,
  rollout: Rollout,
  before: DeviceUpdateRecord,
  by: Cause,
): Promise<SteeredUpdate> {
  const { deviceId, state } = before;
  if (state === "SUCCEEDED" || !isFinalUpdate(state) || rollout.state === "ABORTED")
    return { ...before, effect: nothing(underWay(before)) };
  await rollBackAgain(tx, rollout, [deviceId], { actor: by.actor, why: by.reason });
  const after = await newest(tx, rollout, deviceId);
  const effect = deviceEffect(rollout, await readRollout(tx, rollout.id));
  if (effect === undefined || effect.blocked > 0) throw cannotGoBack(after);
  await record(tx, rollout, "rollout.rollback_device", by, {
    device_id: deviceId,
    from: `ROLLBACK ${state}`,
    to: `ROLLBACK to ${after.toVersion} ${after.state}`,
  });
  return { ...after, effect };
}

/** How a device stands that was told to go back. An error with the reason if it could not. */
function underWay(rollback: DeviceUpdateRecord): string {
  const { state, toVersion } = rollback;
  if (state === "SUCCEEDED") return `the device is back on ${toVersion}`;
  if (!isFinalUpdate(state)) return `the device goes back to ${toVersion} already, and is ${state}`;
  throw cannotGoBack(rollback);
}

/** Why nothing is left to be taken back from the device, if that is as it should be; else `NOTHING_TO_DO`. */
async function wayBackWords(
  tx: RolloutTransaction,
  { id, version }: Rollout,
  { deviceId, state, failureReason }: DeviceUpdateRecord,
): Promise<string> {
  const [way] = await tx.query<{ waits: boolean; installed: boolean }>(wayBackSql, [id, deviceId]);
  if (way?.waits === true) return "the device goes back as soon as its update of another component is over";
  if (way?.installed !== true) {
    if (state === "CANCELLED") return `its update was cancelled before it installed ${version}`;
    throw nothingToDo(`the device never installed ${version}: its update is ${state}`, {
      id,
      device_id: deviceId,
    });
  }
  const why =
    failureReason === "DEVICE_REVERTED"
      ? "it went back by itself"
      : "another rollout has brought it another version since";
  throw nothingToDo(`the device does not have ${version} any more: ${why}`, { id, device_id: deviceId });
}

/** Why a device cannot go back, or could not, by its rollback. */
function cannotGoBack({
  deviceId,
  state,
  toVersion,
  failureReason,
  failureMessage,
}: DeviceUpdateRecord): OtaError {
  const why = failureMessage === "" ? failureReason || state : failureMessage;
  const words = `the device cannot go back to ${toVersion}: ${why}`;
  const metadata = { device_id: deviceId, version: toVersion };
  const reason = blockedReasons.find((each) => each === failureReason);
  if (reason === undefined) return nothingToDo(words, metadata);
  return new OtaError("failed_precondition", reason, words, { metadata });
}

const blockedReasons = [
  "ROLLBACK_TARGET_MISSING",
  "ROLLBACK_TARGET_REFUSED",
  "ROLLBACK_TARGET_RECALLED",
  "ROLLBACK_BLOCKED_BY_SECURITY_COUNTER",
] as const;

function mayTryAgain({ action, state, driftedMs }: DeviceUpdateRecord, reinstall: boolean): boolean {
  if (action === "ROLLBACK") return false;
  if (state === "SUCCEEDED") return action === "INSTALL" && (driftedMs !== null || reinstall);
  return state === "FAILED" || state === "TIMED_OUT";
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
  if (found !== undefined) return found;
  const [device] = await tx.query(freeSql, [deviceId]);
  if (device === undefined) throw notFound("device", deviceId);
  throw nothingToDo(`the rollout never offered ${rollout.version} to the device`, {
    id: rollout.id,
    device_id: deviceId,
  });
}

async function record(
  tx: RolloutTransaction,
  rollout: Rollout,
  action: string,
  by: Cause,
  details: Readonly<Record<string, string>>,
): Promise<void> {
  tx.changed(rollout.id);
  await recordRollout(tx, rollout.id, {
    actor: by.actor,
    action,
    reason: by.reason,
    details,
  });
}

const tryNowSql = sql`
  UPDATE device_updates SET not_before = NULL, updated_at = clock_timestamp()
  WHERE device_id = $1::uuid AND id = $2::uuid AND ended_at IS NULL AND not_before > $3::timestamptz`;

/** Whether device $2 waits to be told that it has to go back by rollout $1, and whether it began to install its update. */
const wayBackSql = sql`
  SELECT bool_or(take_back_by IS NOT NULL) AS waits, bool_or(installing_at IS NOT NULL) AS installed
  FROM device_updates WHERE device_id = $2::uuid AND rollout_id = $1::uuid AND action <> 'ROLLBACK'`;

const freeSql = sql`
  SELECT d.is_deleted AS retired,
    EXISTS (SELECT 1 FROM device_updates u WHERE u.device_id = d.id AND u.ended_at IS NULL) AS busy
  FROM devices d WHERE d.id = $1::uuid FOR SHARE OF d`;

/** Device $1 no more counts as failed by its update $2: another try follows. */
const failedSql = sql`
  UPDATE device_updates SET retry_at = $3::timestamptz, updated_at = now() WHERE device_id = $1::uuid AND id = $2::uuid`;
