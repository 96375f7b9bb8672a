import type { EntityManager } from "@mikro-orm/postgresql";
import type { DeviceRetired } from "../device/registry/device-registry.ts";
import type { DeviceBlocked } from "../device/registry/device-standings.ts";
import type { FirmwareInUse } from "../firmware/firmware-catalog.ts";
import type { Clock } from "../infra/clock.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { endOpenUpdate, lockOpenUpdate } from "./locked-open-update.ts";

/** Tells the firmware catalogue which firmware is part of a rollout that is not over. */
export class RolloutFirmwareUse implements FirmwareInUse {
  async rolloutUsing(em: EntityManager, firmwareId: string): Promise<string | undefined> {
    const [rollout] = await sessionOf(em).query<{ id: string }>(usingSql, [firmwareId]);
    return rollout?.id;
  }
}

/** Cancels the open update of a device that is being retired or blocked, in the transaction that does it. */
export class StoppedDeviceUpdates implements DeviceRetired, DeviceBlocked {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async deviceRetired(em: EntityManager, { id }: { id: string }): Promise<void> {
    await this.#cancel(em, id, { reason: "DEVICE_RETIRED", message: "the device was retired" });
  }

  async deviceBlocked(em: EntityManager, { id }: { id: string }): Promise<void> {
    await this.#cancel(em, id, { reason: "DEVICE_BLOCKED", message: "the device was blocked" });
  }

  async #cancel(em: EntityManager, id: string, why: { reason: string; message: string }): Promise<void> {
    const session = sessionOf(em);
    if ((await lockOpenUpdate(session, id)) === undefined) return;
    await endOpenUpdate(session, id, {
      at: this.#clock.now(),
      state: "CANCELLED",
      ...why,
    });
  }
}

const usingSql = sql`
  SELECT id FROM rollouts
  WHERE firmware_id = $1::uuid AND NOT is_deleted AND state NOT IN ('ROLLED_BACK', 'ABORTED')
  ORDER BY id DESC LIMIT 1`;
