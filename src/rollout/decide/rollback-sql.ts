import { sql, words } from "../../infra/database/sql.ts";
import { untakenStates } from "../model/device-update-state.ts";
import { supersededSql } from "../model/superseded-sql.ts";
import { updateIdSql } from "../model/update-id.ts";
import { busySql, plannedSql, untouchedSql } from "./rollback-plan-sql.ts";

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

/** Why a device of {@link plannedSql} cannot go back, in words; null for one that can. */
const blockedWordsSql = sql`
  CASE problem
    WHEN 'ROLLBACK_TARGET_MISSING' THEN CASE origin_version WHEN '' THEN 'the version that it came from is not known'
      ELSE 'the catalogue has no released version ' || origin_version END
    WHEN 'ROLLBACK_TARGET_RECALLED' THEN coalesce(target_version, origin_version)
      || ' is recalled, and no other version can take its place'
    WHEN 'ROLLBACK_TARGET_UNFIT' THEN target_version || ' is not for this device'
    WHEN 'ROLLBACK_TARGET_REFUSED' THEN target_version || ' was itself rolled back'
    WHEN 'ROLLBACK_BLOCKED_BY_SECURITY_COUNTER' THEN 'the security counter of ' || target_version || ' is '
      || target_counter || ', the device is at ' || device_counter
  END`;

/**
 * The boot that a device of {@link plannedSql} must leave to be back: the one that it is in, if heartbeats showed the new version;
 * any, if it gave up before; else the one before the install, whose reboot may be on its way.
 */
const leftBootSql = sql`
  CASE WHEN proven_at IS NOT NULL THEN coalesce(device_boot_id, '') WHEN state = 'FAILED' THEN '' ELSE from_boot_id END`;

/**
 * Makes the rollbacks of the devices that are at nothing else; returns how many are due, how many of them it made, and how
 * many of these failed at once. Of devices that cannot go back but never left it makes none: they are `stayed`. $3 to $5 as of
 * {@link plannedSql}, $6: now, $7: the deadline.
 */
export const insertRollbacksSql = sql`
  WITH planned AS MATERIALIZED (${plannedSql}), free AS (
    SELECT * FROM planned i WHERE NOT ${busySql} ORDER BY device_id
  ), made AS (
    INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
      from_firmware_id, to_version, from_boot_id, failure_reason, failure_message, offered_at, deadline_at, ended_at,
      enrolment_key_id)
    SELECT device_id, ${updateIdSql(sql`$6::timestamptz`, sql`free.device_id`)}, rollout_id, ring_id,
      coalesce(target_id, firmware_id), 'ROLLBACK', CASE WHEN problem IS NULL THEN 'OFFERED' ELSE 'FAILED' END,
      to_version, firmware_id, coalesce(target_version, origin_version),
      ${leftBootSql}, problem,
      ${blockedWordsSql},
      $6::timestamptz, $7::timestamptz, CASE WHEN problem IS NOT NULL THEN $6::timestamptz END,
      enrolment_key_id
    FROM free WHERE problem IS NULL OR NOT stayed
    ON CONFLICT DO NOTHING
    RETURNING state
  )
  SELECT (SELECT count(*) FROM planned)::float8 AS due,
    (SELECT coalesce(array_agg(device_id::text), '{}') FROM free WHERE problem IS NOT NULL AND stayed) AS stayed,
    count(*)::float8 AS total, (count(*) FILTER (WHERE state = 'FAILED'))::float8 AS failed
  FROM made`;
