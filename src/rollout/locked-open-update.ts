import type { Session } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/** The open update of a device that is decided over for what becomes of the device itself. */
export interface LockedOpenUpdate {
  readonly rollout_id: string;
  readonly firmware_id: string;
  readonly action: string;
  /** Whether the device said that it installs it. */
  readonly taken: boolean;
}

/**
 * The device's open update, locked until the transaction ends; undefined if it has none. The rollout is locked first, as
 * everywhere: whoever decides over it must not see half of this.
 */
export async function lockOpenUpdate(
  session: Session,
  deviceId: string,
): Promise<LockedOpenUpdate | undefined> {
  const [known] = await session.query<LockedOpenUpdate>(openSql, [deviceId]);
  if (known === undefined) return undefined;
  await session.run(lockSql, [known.rollout_id]);
  const [open] = await session.query<LockedOpenUpdate>(openLockedSql, [deviceId]);
  return open;
}

/** Ends the open update of a device that {@link lockOpenUpdate} locked, with the reason in a word and in words. */
export async function endOpenUpdate(
  session: Session,
  deviceId: string,
  end: {
    readonly at: Date;
    readonly state: "CANCELLED" | "FAILED";
    readonly reason: string;
    readonly message: string;
  },
): Promise<void> {
  await session.run(endSql, [deviceId, end.at.toISOString(), end.state, end.reason, end.message]);
}

const openSql = sql`
  SELECT rollout_id, firmware_id, action, installing_at IS NOT NULL AS taken FROM device_updates
  WHERE device_id = $1::uuid AND ended_at IS NULL`;

const openLockedSql = sql`${openSql} FOR UPDATE`;

const lockSql = sql`SELECT 1 FROM rollouts WHERE id = $1::uuid FOR NO KEY UPDATE`;

/** Ends the open update of device $1 at $2 in state $3, for reason $4 with message $5. */
const endSql = sql`
  UPDATE device_updates SET state = $3::text, ended_at = $2::timestamptz, updated_at = now(),
    failure_reason = $4::text, failure_message = $5::text
  WHERE device_id = $1::uuid AND ended_at IS NULL`;
