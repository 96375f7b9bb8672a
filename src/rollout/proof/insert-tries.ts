import { RowArrays } from "../../infra/database/row-arrays.ts";
import type { Session } from "../../infra/database/session.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import type { NextTry } from "./next-try.ts";

/** A further try that follows another one of its device. */
export interface FollowingTry extends Omit<NextTry, "rollback"> {
  readonly deviceId: string;
  /** The one that it follows. */
  readonly failedId: string;
}

/** Makes tries that follow others, which ended just now, in the same rollouts and for the same versions. */
export async function insertTries(session: Session, tries: readonly FollowingTry[]): Promise<void> {
  if (tries.length > 0) await session.run(insertSql, followed.values(tries));
}

const followed = new RowArrays<FollowingTry>({
  device_id: ["uuid", ({ deviceId }) => deviceId],
  failed_id: ["uuid", ({ failedId }) => failedId],
  id: ["uuid", ({ id }) => id],
  from_boot_id: ["text", ({ fromBootId }) => fromBootId],
  offered_at: ["timestamptz", ({ madeAt }) => madeAt],
  not_before: ["timestamptz", ({ notBefore }) => notBefore],
  deadline_at: ["timestamptz", ({ deadlineAt }) => deadlineAt],
});

/**
 * One after a drift comes from the version that the device fell back to, one after a success from the very version that it
 * brings.
 */
const insertSql = prepared(
  "rollout_insert_tries",
  sql`
  INSERT INTO device_updates (device_id, id, rollout_id, ring_id, firmware_id, action, state, from_version,
    from_firmware_id, to_version, from_boot_id, attempt, offered_at, not_before, deadline_at, updated_at,
    enrolment_key_id)
  SELECT u.device_id, t.id, u.rollout_id, u.ring_id, u.firmware_id, u.action, 'OFFERED',
    CASE WHEN u.state = 'SUCCEEDED' THEN coalesce(u.drifted_to, u.to_version) ELSE u.from_version END,
    u.from_firmware_id, u.to_version, t.from_boot_id, u.attempt + 1, t.offered_at, t.not_before, t.deadline_at,
    clock_timestamp(), u.enrolment_key_id
  FROM ${followed.as(sql`t`)}
  JOIN device_updates u ON u.device_id = t.device_id AND u.id = t.failed_id`,
);
