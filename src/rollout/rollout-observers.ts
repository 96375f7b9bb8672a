import type { EntityManager } from "@mikro-orm/postgresql";
import type { DeviceRetired } from "../device/registry/device-registry.ts";
import type { FirmwareInUse } from "../firmware/firmware-catalog.ts";
import type { Clock } from "../infra/clock.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/** Tells the firmware catalogue which firmware is part of a rollout that is not over. */
export class RolloutFirmwareUse implements FirmwareInUse {
  async rolloutUsing(em: EntityManager, firmwareId: string): Promise<string | undefined> {
    const [rollout] = await sessionOf(em).query<{ id: string }>(usingSql, [firmwareId]);
    return rollout?.id;
  }
}

/** Cancels the open update of a device that is being retired, in the transaction that retires it. */
export class RetiredDeviceUpdates implements DeviceRetired {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async deviceRetired(em: EntityManager, { id }: { id: string }): Promise<void> {
    const session = sessionOf(em);
    const [open] = await session.query<{ rollout_id: string }>(openSql, [id]);
    if (open === undefined) return;
    // The rollout first, as everywhere: whoever decides over it must not see half of this.
    await session.run(lockSql, [open.rollout_id]);
    await session.run(cancelUpdatesSql, [id, this.#clock.now().toISOString()]);
  }
}

const usingSql = sql`
  SELECT id FROM rollouts
  WHERE firmware_id = $1::uuid AND NOT is_deleted AND state NOT IN ('ROLLED_BACK', 'ABORTED')
  ORDER BY id DESC LIMIT 1`;

const openSql = sql`SELECT rollout_id FROM device_updates WHERE device_id = $1::uuid AND ended_at IS NULL`;

const lockSql = sql`SELECT 1 FROM rollouts WHERE id = $1::uuid FOR NO KEY UPDATE`;

const cancelUpdatesSql = sql`
  UPDATE device_updates SET state = 'CANCELLED', ended_at = $2::timestamptz, updated_at = now(),
    failure_reason = 'DEVICE_RETIRED', failure_message = 'the device was retired'
  WHERE device_id = $1::uuid AND ended_at IS NULL`;
