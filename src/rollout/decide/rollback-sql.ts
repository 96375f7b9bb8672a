import { recalledFirmwareSql } from "../../firmware/recalls.ts";
import { type Sql, sql, words } from "../../infra/database/sql.ts";
import { takenStates, untakenStates } from "../model/device-update-state.ts";
import { refusedSql } from "../model/refused-firmware.ts";
import { firstTrySql, supersededSql } from "../model/superseded-sql.ts";

/**
 * SQL that rolls a rollout's update back from devices: parameter $1 is the rollout, $2 the ids of the devices. In a
 * transaction that has the rollout locked.
 */

/** Ends the open updates of the devices. $3: now. */
export const endTakenSql = sql`
  UPDATE device_updates SET ended_at = $3::timestamptz, updated_at = now(),
    state = CASE WHEN state IN (${words(untakenStates)}) THEN 'CANCELLED' ELSE 'ROLLED_BACK' END
  WHERE rollout_id = $1::uuid AND device_id = ANY ($2::uuid[])
    AND action <> 'ROLLBACK' AND ended_at IS NULL`;

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
const untouchedSql = sql`(u.state = 'OFFERED' AND ${firstTrySql})`;

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
const plannedSql = sql`
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

/**
 * Ends what other rollouts have open for the devices that go back, for a device has one open update: all of the same
 * component, and of others what no device has begun with; devices that are at another component wait. What a device that must
 * not go back is at goes on: nothing would take its place. $3 to $5 as of {@link plannedSql}, $6: now.
 */
export const supersedeSql = sql`
  WITH planned AS MATERIALIZED (${plannedSql})
  UPDATE device_updates u SET ${supersededSql(sql`$6::timestamptz`)}
  FROM planned t
  WHERE t.problem IS NULL AND u.device_id = t.device_id AND u.rollout_id <> t.rollout_id AND u.ended_at IS NULL
    AND (${untouchedSql} OR (SELECT c.component FROM firmware_updates c WHERE c.id = u.firmware_id) = $5)`;

/**
 * The id of a new update of a device at time `now`, higher than those that it has, as `newUpdateId` makes it: a UUID of version
 * 7 (RFC 9562, section 5.7), which PostgreSQL makes by itself only from version 18 on. It is one of the first of its
 * millisecond, so that what is offered to the device in the same one comes after it.
 */
export function updateIdSql(now: Sql, deviceId: Sql): Sql {
  const newest = sql`(SELECT w.id FROM device_updates w WHERE w.device_id = ${deviceId} ORDER BY w.id DESC LIMIT 1)`;
  const leastMs = sql`('x' || lpad(translate(left(${newest}::text, 13), '-', ''), 16, '0'))::bit(64)::bigint + 1`;
  const atMs = sql`greatest((extract(epoch FROM ${now}) * 1000)::bigint, ${leastMs})`;
  return sql`
  encode(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send(${atMs}) FROM 3) || '\\x7000'::bytea FROM 1 FOR 8), 'hex')::uuid`;
}

/** Whether the firmware $1 was rolled back by its newest rollout. */
export const wasRolledBackSql = sql`SELECT coalesce(${refusedSql}, false) AS refused FROM firmware_updates f WHERE f.id = $1::uuid`;

/**
 * Makes the rollbacks of the devices that are at nothing else; returns how many are due, how many of them it made, and how
 * many of these failed at once. Of devices that cannot go back but never left it makes none: they are `stayed`. $3 to $5 as of
 * {@link plannedSql}, $6: now, $7: the deadline. The boot that a device must leave to be back is the one that it is in, if
 * heartbeats showed the new version; any, if it gave up before; else the one before the install, whose reboot may be on its way.
 */
export const insertRollbacksSql = sql`
  WITH planned AS MATERIALIZED (${plannedSql}), free AS (
    SELECT * FROM planned i WHERE NOT ${busySql} ORDER BY device_id
  ), made AS (
    INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
      from_firmware_id, to_version, from_boot_id, failure_reason, failure_message, offered_at, deadline_at, ended_at,
      enrolment_key_id)
    SELECT device_id, ${updateIdSql(sql`$6::timestamptz`, sql`free.device_id`)}, rollout_id, ring_id, coalesce(target_id, firmware_id), 'ROLLBACK',
      CASE WHEN problem IS NULL THEN 'OFFERED' ELSE 'FAILED' END, to_version, firmware_id,
      coalesce(target_version, origin_version),
      CASE WHEN proven_at IS NOT NULL THEN coalesce(device_boot_id, '') WHEN state = 'FAILED' THEN '' ELSE from_boot_id END,
      problem,
      CASE problem
        WHEN 'ROLLBACK_TARGET_MISSING' THEN CASE origin_version WHEN '' THEN 'the version that it came from is not known'
          ELSE 'the catalogue has no released version ' || origin_version END
        WHEN 'ROLLBACK_TARGET_RECALLED' THEN coalesce(target_version, origin_version) || ' is recalled, and no other version can take its place'
        WHEN 'ROLLBACK_TARGET_UNFIT' THEN target_version || ' is not for this device'
        WHEN 'ROLLBACK_TARGET_REFUSED' THEN target_version || ' was itself rolled back'
        WHEN 'ROLLBACK_BLOCKED_BY_SECURITY_COUNTER' THEN 'the security counter of ' || target_version || ' is ' ||
          target_counter || ', the device is at ' || device_counter END,
      $6::timestamptz, $7::timestamptz, CASE WHEN problem IS NOT NULL THEN $6::timestamptz END,
      enrolment_key_id
    FROM free WHERE problem IS NULL OR NOT stayed
    ON CONFLICT DO NOTHING
    RETURNING state
  )
  SELECT (SELECT count(*) FROM planned)::float8 AS due,
    (SELECT coalesce(array_agg(device_id::text), '{}') FROM free WHERE problem IS NOT NULL AND stayed) AS stayed, count(*)::float8 AS total, (count(*) FILTER (WHERE state = 'FAILED'))::float8 AS failed FROM made`;
