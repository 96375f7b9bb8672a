import { recalledFirmwareSql } from "../../firmware/recalls.ts";
import { sql, words } from "../../infra/database/sql.ts";
import { takenStates } from "../model/device-update-state.ts";
import { refusedSql } from "../model/refused-firmware.ts";
import { firstTrySql } from "../model/superseded-sql.ts";

/**
 * SQL that tells which devices of a rollout have to go back, and to what: parameter $1 is the rollout, $2 the ids of the
 * devices.
 */

/**
 * The devices that have to go back and were not told to yet, by their last try that began to install; where they came from
 * is that of the first one, for a mandatory step may have come before.
 */
export const dueSql = sql`
  SELECT DISTINCT ON (i.device_id) i.*, v.device_type, v.hardware_model, first.from_version AS origin_version,
    first.from_firmware_id AS origin_id, first.from_boot_id AS origin_boot_id
  FROM device_updates i JOIN devices v ON v.id = i.device_id AND NOT v.is_deleted
  CROSS JOIN LATERAL (
    SELECT f.from_version, f.from_firmware_id, f.from_boot_id FROM device_updates f
    WHERE f.device_id = i.device_id AND f.rollout_id = i.rollout_id AND f.action <> 'ROLLBACK' AND f.attempt > 0
    ORDER BY f.id LIMIT 1
  ) first
  WHERE i.rollout_id = $1::uuid AND i.device_id = ANY ($2::uuid[])
    AND i.action <> 'ROLLBACK' AND i.installing_at IS NOT NULL AND coalesce(i.failure_reason, '') <> 'DEVICE_REVERTED'
    AND i.drifted_at IS NULL
    AND NOT EXISTS (
      SELECT 1 FROM device_updates b
      WHERE b.device_id = i.device_id AND b.rollout_id = i.rollout_id AND b.action = 'ROLLBACK' AND b.attempt > 0)
    AND NOT EXISTS (
      SELECT 1 FROM device_updates o
      WHERE o.device_id = i.device_id AND o.rollout_id <> i.rollout_id AND o.action <> 'ROLLBACK'
        AND o.offered_at > i.offered_at AND o.state IN (${words([...takenStates, "SUCCEEDED"])})
        AND (SELECT count(DISTINCT c.component) FROM firmware_updates c
          WHERE c.id IN (o.firmware_id, i.firmware_id)) = 1)
  ORDER BY i.device_id, i.id DESC`;

/** Whether the update `u` is a first offer that its device has not begun with. */
export const untouchedSql = sql`(u.state = 'OFFERED' AND ${firstTrySql})`;

/** Whether the device of the try `i` is at an update, or a rollback, of another component. */
export const busySql = sql`
  EXISTS (
    SELECT 1 FROM device_updates u JOIN firmware_updates uf ON uf.id = u.firmware_id
    WHERE u.device_id = i.device_id AND u.ended_at IS NULL AND NOT ${untouchedSql}
      AND uf.component <> (SELECT c.component FROM firmware_updates c WHERE c.id = i.firmware_id))`;

/**
 * What a device `t` goes back to in the place of a recalled version: the newest version below the one that is rolled back, of
 * product $3 and application $5, that fits the device, is not recalled, was not rolled back itself, and that its security counter
 * allows.
 */
const standInSql = sql`(
  SELECT f.id FROM firmware_updates f
  WHERE f.product = $3 AND f.component = $5 AND f.state = 'RELEASED' AND NOT f.is_deleted
    AND semver_key(f.version) COLLATE "C" < semver_key(t.to_version) COLLATE "C"
    AND t.device_type = ANY (f.device_types)
    AND (f.hardware_models = '{}' OR t.hardware_model = ANY (model_names(f.hardware_models)))
    AND f.id NOT IN ${recalledFirmwareSql} AND NOT coalesce(${refusedSql}, false)
    AND ($5 <> '' OR f.security_counter >= coalesce((
      SELECT y.security_counter FROM device_state y WHERE y.device_id = t.device_id), 0))
  ORDER BY semver_key(f.version) COLLATE "C" DESC LIMIT 1)`;

/**
 * The devices that have to go back, with the firmware that they go back to and, in `problem`, why they must not: none, it is
 * recalled or unfit, was rolled back itself, or its security counter is too low. A device's security counter is that of its firmware.
 * `stayed` says that a device never left, for the install failed and it still reports what it came from. $3: the product,
 * $4: the firmware to go back to, or null, $5: the application that goes back, empty for firmware.
 */
export const plannedSql = sql`
  SELECT t.*, f.id AS target_id, f.version AS target_version, f.security_counter AS target_counter,
    s.security_counter AS device_counter, s.boot_id AS device_boot_id,
    CASE
      WHEN f.id IS NULL THEN CASE WHEN t.origin_recalled THEN 'ROLLBACK_TARGET_RECALLED' ELSE 'ROLLBACK_TARGET_MISSING' END
      WHEN f.id IN ${recalledFirmwareSql} THEN 'ROLLBACK_TARGET_RECALLED'
      WHEN NOT (t.device_type = ANY (f.device_types))
        OR (f.hardware_models <> '{}' AND NOT (t.hardware_model = ANY (model_names(f.hardware_models)))) THEN 'ROLLBACK_TARGET_UNFIT'
      WHEN ${refusedSql} THEN 'ROLLBACK_TARGET_REFUSED'
      WHEN f.component = '' AND f.security_counter < coalesce(s.security_counter, 0) THEN 'ROLLBACK_BLOCKED_BY_SECURITY_COUNTER'
    END AS problem,
    t.state = 'FAILED' AND CASE $5 WHEN '' THEN t.origin_version <> '' AND s.firmware_version = t.origin_version
      ELSE coalesce(s.components->>$5, '') = t.origin_version END AS stayed
  FROM (
    SELECT i.*, EXISTS (
      SELECT FROM recalls c WHERE c.product = $3 AND c.identity = version_identity(i.origin_version) AND c.reinstated_at IS NULL
    ) AS origin_recalled
    FROM (${dueSql}) i
  ) t
  LEFT JOIN device_state s ON s.device_id = t.device_id
  LEFT JOIN firmware_updates f ON f.state = 'RELEASED' AND NOT f.is_deleted AND f.id = coalesce($4::uuid,
    CASE WHEN t.origin_recalled THEN ${standInSql} ELSE (
      SELECT o.id FROM firmware_version_keys k JOIN firmware_updates o ON o.id = k.firmware_id
      WHERE k.product = $3 AND k.identity = version_identity(t.origin_version) AND o.component = $5
        AND o.state = 'RELEASED') END)`;
