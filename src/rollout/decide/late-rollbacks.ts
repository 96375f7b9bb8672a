import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { isReportOf } from "../../version/reported-versions.ts";
import { alertRollbackSql } from "../model/rollback-words.ts";
import {
  lockRollout,
  type RolloutTransaction,
  type RolloutTransactions,
} from "../model/rollout-transactions.ts";
import { updateIdSql } from "../model/update-id.ts";
import { rollBackAgain } from "./roll-back-again.ts";
import { maxReturns } from "./standing.ts";
import { returnsSql, runningSql } from "./standing-sql.ts";

/**
 * Rolls devices back whose rollback timed out in silence, once they are heard again on the version that was taken back, to what
 * that rollback would have brought. One that is heard on another version is away no more, and has gone back if that is the one
 * to go back to.
 */
export async function rollBackLate(pool: Session, transactions: RolloutTransactions): Promise<void> {
  const rows = await pool.query<LateDevice>(lateSql);
  for (const [rolloutId, late] of Map.groupBy(rows, (it) => it.rolloutId)) {
    await transactions.run((tx) => settleLate(tx, rolloutId, late));
  }
}

/** Rolls devices back that could not be for want of a version which has been released since. */
export async function rollBackToReleased(pool: Session, transactions: RolloutTransactions): Promise<void> {
  const versions = await pool.query<ReleasedVersion>(releasedSql);
  for (const { rolloutId, version } of versions) {
    await transactions.run(async (tx) => {
      const rollout = await lockRollout(tx, rolloutId);
      if (rollout.state === "ABORTED") return;
      const rows = await tx.query<{ device_id: string }>(blockedSql, [rolloutId, version]);
      const deviceIds = rows.map(({ device_id }) => device_id);
      if (deviceIds.length > 0)
        await rollBackAgain(tx, rollout, deviceIds, { why: `version ${version} was released` });
    });
  }
}

interface LateDevice {
  readonly id: string;
  readonly deviceId: string;
  readonly rolloutId: string;
  /** What the rollback would have brought. */
  readonly firmwareId: string;
  readonly toVersion: string;
  readonly takenVersion: string;
  readonly reportedVersions: readonly string[];
  readonly returns: number;
  /** What it reports now; empty if it is retired, or is another board by now. */
  readonly running: string;
}

interface ReleasedVersion {
  readonly rolloutId: string;
  readonly version: string;
}

async function settleLate(
  tx: RolloutTransaction,
  rolloutId: string,
  late: readonly LateDevice[],
): Promise<void> {
  const rollout = await lockRollout(tx, rolloutId);
  const heard = await tx.query<{ id: string }>(heardSql, [
    late.map(({ deviceId }) => deviceId),
    late.map(({ id }) => id),
    tx.now.toISOString(),
  ]);
  const ids = new Set(heard.map(({ id }) => id));
  const seen = late.filter(({ id, running }) => ids.has(id) && running !== "");
  const wentBack = seen.filter(({ running, toVersion }) =>
    isReportOf(running, { version: toVersion, reportedVersions: [] }),
  );
  if (wentBack.length > 0) {
    const keys = [wentBack.map(({ deviceId }) => deviceId), wentBack.map(({ id }) => id)];
    await tx.run(wentBackSql, [...keys, tx.now.toISOString()]);
    await tx.run(backSql, [...keys, tx.now.toISOString()]);
  }
  const [newest] = await tx.query<{ id: string }>(newestSql, [rollout.firmwareId]);
  // Whoever brings the version again has decided that it is good.
  if (rollout.state !== "ABORTED" && newest?.id === rolloutId) {
    const returned = seen.filter(
      ({ running, takenVersion, reportedVersions, returns }) =>
        returns < maxReturns && isReportOf(running, { version: takenVersion, reportedVersions }),
    );
    for (const [firmwareId, to] of Map.groupBy(returned, (it) => it.firmwareId)) {
      const current = await lockRollout(tx, rolloutId);
      const deviceIds = to.map(({ deviceId }) => deviceId);
      await rollBackAgain(tx, current, deviceIds, {
        firmwareId,
        why: "devices that were away are heard again",
      });
    }
  }
  await tx.run(alertRollbackSql, [rolloutId]);
  tx.changed(rolloutId);
}

/** Devices that are away and were heard since, or are retired. */
const lateSql = sql`
  SELECT b.id, b.device_id AS "deviceId", b.rollout_id AS "rolloutId", b.firmware_id AS "firmwareId",
    b.to_version AS "toVersion", b.from_version AS "takenVersion",
    ${returnsSql(sql`b`)} AS returns,
    coalesce(t.reported_versions, '{}') AS "reportedVersions",
    CASE WHEN v.is_deleted OR v.board_since > b.offered_at THEN '' ELSE
      ${runningSql} END AS running
  FROM device_updates b JOIN device_state s ON s.device_id = b.device_id JOIN devices v ON v.id = b.device_id
  JOIN rollouts r ON r.id = b.rollout_id AND NOT r.is_deleted
  LEFT JOIN firmware_updates t ON t.id = b.from_firmware_id
  WHERE b.action = 'ROLLBACK' AND b.state = 'TIMED_OUT' AND b.retry_at IS NULL AND b.heard_at IS NULL
    AND (s.last_seen_at >= b.ended_at OR v.is_deleted)
  ORDER BY b.rollout_id, b.id LIMIT 1000`;

/** Notes that devices $1 with rollbacks $2 were heard at $3; returns the rollbacks of those that were still away. */
const heardSql = sql`
  UPDATE device_updates b SET heard_at = $3::timestamptz, updated_at = now()
  FROM unnest($1::uuid[], $2::uuid[]) AS c (device_id, id)
  WHERE b.device_id = c.device_id AND b.id = c.id AND b.heard_at IS NULL AND b.retry_at IS NULL
  RETURNING b.id`;

/** Devices $1 need their rollbacks $2 no more, at $3: those that follow say that they are back. */
const wentBackSql = sql`
  UPDATE device_updates b SET retry_at = $3::timestamptz, updated_at = now()
  FROM unnest($1::uuid[], $2::uuid[]) AS c (device_id, id) WHERE b.device_id = c.device_id AND b.id = c.id`;

const backSql = sql`
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, attempt, offered_at, proven_at, ended_at, enrolment_key_id)
  SELECT b.device_id, ${updateIdSql(sql`$3::timestamptz`, sql`b.device_id`)}, b.rollout_id, b.ring_id, b.firmware_id, b.action, 'SUCCEEDED', b.from_version,
    b.from_firmware_id, b.to_version, b.attempt + 1, $3::timestamptz, $3::timestamptz, $3::timestamptz, b.enrolment_key_id
  FROM unnest($1::uuid[], $2::uuid[]) AS c (device_id, id)
  JOIN device_updates b ON b.device_id = c.device_id AND b.id = c.id`;

const newestSql = sql`
  SELECT id FROM rollouts WHERE firmware_id = $1::uuid AND started_at IS NOT NULL AND NOT is_deleted
  ORDER BY id DESC LIMIT 1`;

/** The versions that rollbacks lacked and that can be had now. Groups come from an index, however many devices there are. */
const releasedSql = sql`
  SELECT g.rollout_id AS "rolloutId", g.to_version AS version
  FROM (
    SELECT rollout_id, to_version FROM device_updates
    WHERE failure_reason = 'ROLLBACK_TARGET_MISSING' AND retry_at IS NULL GROUP BY rollout_id, to_version
  ) g
  JOIN rollouts r ON r.id = g.rollout_id AND r.state <> 'ABORTED' AND NOT r.is_deleted JOIN firmware_updates f ON f.id = r.firmware_id
  WHERE EXISTS (
    SELECT FROM firmware_version_keys k JOIN firmware_updates o ON o.id = k.firmware_id
    WHERE k.product = f.product AND k.identity = version_identity(g.to_version) AND o.component = f.component
      AND o.state = 'RELEASED' AND NOT o.is_deleted)
  ORDER BY 1, 2`;

const blockedSql = sql`
  SELECT b.device_id FROM device_updates b JOIN devices v ON v.id = b.device_id AND NOT v.is_deleted
  WHERE b.rollout_id = $1::uuid AND b.to_version = $2 AND b.failure_reason = 'ROLLBACK_TARGET_MISSING'
    AND b.retry_at IS NULL AND b.offered_at > coalesce(v.board_since, '-infinity')
  LIMIT 1000`;
