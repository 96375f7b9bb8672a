import { sql } from "../../infra/database/sql.ts";
import { updateIdSql } from "../model/update-id.ts";
import { busySql, dueSql } from "./rollback-plan-sql.ts";

/**
 * SQL of rollbacks that wait until a device's update of another component is over. The mark of one is `take_back_by` on the
 * try that has to be rolled back, so that an index finds those of a rollout. Parameter $1 is the rollout, $2 the ids of the
 * devices. In a transaction that has the rollout locked.
 */

/**
 * Marks the devices that have to go back and were not told to, for something else is open for them: another component's
 * update, or an offer that came in between. $3: until when they wait, unless they wait already.
 */
export const waitSql = sql`
  WITH due AS (${dueSql})
  UPDATE device_updates u SET take_back_by = $3::timestamptz, updated_at = now()
  FROM due d WHERE u.device_id = d.device_id AND u.id = d.id AND u.take_back_by IS NULL`;

/** The next devices of rollout $1 that need wait no more, those that waited until $2 at least among them, at most $3. */
export const nextWaitingSql = sql`
  SELECT i.device_id FROM device_updates i
  WHERE i.rollout_id = $1::uuid AND i.take_back_by IS NOT NULL AND (i.take_back_by <= $2::timestamptz OR NOT ${busySql})
  ORDER BY i.take_back_by, i.device_id LIMIT $3::int`;

/** Whether devices of rollout $1 wait. */
export const anyWaitingSql = sql`
  SELECT EXISTS (SELECT 1 FROM device_updates WHERE rollout_id = $1::uuid AND take_back_by IS NOT NULL) AS waits`;

/** Notes a failed rollback, at time $3, for each of the devices that waited in vain until $4, for as long as they may. */
export const giveUpSql = sql`
  WITH due AS (${dueSql})
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, failure_reason, failure_message, offered_at, deadline_at, ended_at, enrolment_key_id)
  SELECT d.device_id, ${updateIdSql(sql`$3::timestamptz`, sql`d.device_id`)}, d.rollout_id, d.ring_id, d.firmware_id, 'ROLLBACK', 'FAILED', d.to_version,
    d.firmware_id, d.origin_version, 'DEVICE_BUSY', 'the device was at the update of another component for too long',
    $3::timestamptz, $3::timestamptz, $3::timestamptz, d.enrolment_key_id
  FROM due d JOIN device_updates u ON u.device_id = d.device_id AND u.id = d.id AND u.take_back_by <= $4::timestamptz
  ON CONFLICT DO NOTHING`;

/** Takes the mark from those of the devices that have been told, have failed, or have not to go back any more. */
export const unmarkSql = sql`
  WITH due AS MATERIALIZED (${dueSql})
  UPDATE device_updates u SET take_back_by = NULL, updated_at = now()
  WHERE u.rollout_id = $1::uuid AND u.device_id = ANY ($2::uuid[])
    AND u.take_back_by IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM due d WHERE d.device_id = u.device_id AND d.id = u.id)`;

/** Takes the mark from devices $2 of rollout $1, which are left as they are. */
export const leaveSql = sql`
  UPDATE device_updates SET take_back_by = NULL, updated_at = now()
  WHERE rollout_id = $1::uuid AND device_id = ANY ($2::uuid[]) AND take_back_by IS NOT NULL`;

/** Takes the marks of rollout $1 away: nobody waits any more. */
export const forgetWaitingSql = sql`
  UPDATE device_updates SET take_back_by = NULL, updated_at = now()
  WHERE rollout_id = $1::uuid AND take_back_by IS NOT NULL`;
