import { readRecalls, recalledFirmwareSql, recalledWords } from "../../firmware/recalls.ts";
import type { Session } from "../../infra/database/session.ts";
import { sql, words } from "../../infra/database/sql.ts";
import { rollBackAgain } from "../decide/roll-back-again.ts";
import { setAlert } from "../decide/rollout-alert.ts";
import { pause } from "../decide/rollout-verbs.ts";
import { untakenStates } from "../model/device-update-state.ts";
import type { Rollout } from "../model/rollout.ts";
import { lockAnyRollout, type RolloutTransaction, readRollout } from "../model/rollout-transactions.ts";
import { recalledAlert } from "../model/way-out.ts";

/** What was stopped of the rollouts and updates that bring recalled versions. */
export interface Stopped {
  readonly pausedRollouts: number;
  /** Updates that had not begun to install. */
  readonly cancelled: number;
  /** Devices that are told to go back to another version than they were. */
  readonly rollbacks: number;
  /** Devices that have no version to go back to any more. */
  readonly blocked: number;
}

/**
 * The rollouts that bring a recalled version: those that make offers of it, and those with an update, a mandatory step or a rollback
 * to it that is open and has not begun to install. In the order in which they are locked.
 */
export async function readBringing(session: Session): Promise<string[]> {
  const rows = await session.query<{ id: string }>(bringingSql);
  return rows.map(({ id }) => id);
}

/**
 * Stops what of a rollout brings a recalled version: it is paused with an alert if it runs, and open updates that have not begun to
 * install are cancelled. Devices that were to go back to a recalled version are rolled back anew, to what stands in for it; what
 * installs already goes on, and is led out later. Nothing is left to be done by a second call.
 */
export async function stopRecalled(tx: RolloutTransaction, rolloutId: string): Promise<Stopped> {
  const before = await lockAnyRollout(tx, rolloutId);
  const paused = await pauseRecalled(tx, before);
  const cancelled = await tx.run(cancelSql, [rolloutId, tx.now.toISOString()]);
  const ended = await tx.query<{ device_id: string }>(endRollbacksSql, [rolloutId, tx.now.toISOString()]);
  if (ended.length > 0) {
    const deviceIds = ended.map(({ device_id }) => device_id);
    const why = "the version that devices were to go back to was recalled";
    await rollBackAgain(tx, await readRollout(tx, rolloutId), deviceIds, { actor: recallActor, why });
  }
  if (cancelled > 0) tx.changed(rolloutId);
  const after = await readRollout(tx, rolloutId);
  const blocked = Math.max(0, after.rollback.blocked - before.rollback.blocked);
  return {
    pausedRollouts: paused ? 1 : 0,
    cancelled,
    rollbacks: Math.max(0, ended.length - blocked),
    blocked,
  };
}

/** Who acts where a recall does. */
const recallActor = "system:recall";

async function pauseRecalled(tx: RolloutTransaction, rollout: Rollout): Promise<boolean> {
  if (rollout.state !== "RUNNING") return false;
  const [recall] = await readRecalls(tx, { firmwareIds: [rollout.firmwareId] });
  if (recall === undefined) return false;
  const reason = recalledWords(rollout.version, recall);
  await pause(tx, rollout, { actor: recallActor, reason, details: { recall_id: recall.id } });
  await setAlert(tx, rollout.id, recalledAlert(reason));
  return true;
}

/** Open updates have no index by their firmware: they are read while a recall, or what its firmware is reported as, is new. */
const bringingSql = sql`
  SELECT r.id FROM rollouts r
  WHERE r.state = 'RUNNING' AND NOT r.is_deleted AND r.firmware_id IN ${recalledFirmwareSql}
  UNION
  SELECT u.rollout_id FROM device_updates u
  WHERE u.ended_at IS NULL AND u.state IN (${words(untakenStates)}) AND u.firmware_id IN (
    SELECT f.id FROM recalls c JOIN firmware_version_keys k ON k.product = c.product AND k.identity = c.identity
    JOIN firmware_updates f ON f.id = k.firmware_id
    WHERE c.reinstated_at IS NULL AND greatest(c.updated_at, f.updated_at) > now() - interval '1 hour')
  ORDER BY 1`;

const cancelSql = sql`
  UPDATE device_updates SET state = 'CANCELLED', ended_at = $2::timestamptz, updated_at = now()
  WHERE rollout_id = $1::uuid AND ended_at IS NULL AND action <> 'ROLLBACK' AND state IN (${words(untakenStates)})
    AND firmware_id IN ${recalledFirmwareSql}`;

const endRollbacksSql = sql`
  UPDATE device_updates u SET state = 'FAILED', failure_reason = 'ROLLBACK_TARGET_RECALLED',
    failure_message = u.to_version || ' is recalled', ended_at = $2::timestamptz, updated_at = now()
  WHERE u.rollout_id = $1::uuid AND u.ended_at IS NULL AND u.action = 'ROLLBACK' AND u.state IN (${words(untakenStates)})
    AND u.firmware_id IN ${recalledFirmwareSql}
  RETURNING u.device_id`;
