import { LockMode } from "@mikro-orm/core";
import type { AuditLog } from "../../access/audit-log.ts";
import { illegalTransition, notFound, nothingToDo } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { DeviceEntity } from "../state/device.entity.ts";
import type { DeviceVerb } from "./device-registry.ts";

/** What {@link DeviceReinstatement} is made of. */
export interface DeviceReinstatementParts {
  readonly database: Pick<Database, "transact">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** For how long the serial number may enrol, in milliseconds. */
  readonly enrolAgainMs: number;
}

/** How what was retired may come back. */
export class DeviceReinstatement {
  readonly #parts: DeviceReinstatementParts;

  constructor(parts: DeviceReinstatementParts) {
    this.#parts = parts;
  }

  /**
   * Lets the serial number of a retired device enrol once more, as a new device; again, the time begins anew. Throws `NOT_FOUND`,
   * `ILLEGAL_TRANSITION` for a device in service, and `NOTHING_TO_DO` if another device has come under the serial number since.
   */
  async reinstate({ actor, id, reason }: DeviceVerb): Promise<void> {
    const { database, audit, clock, enrolAgainMs } = this.#parts;
    await database.transact(async (em) => {
      const device = await em.findOne(DeviceEntity, id, {
        filters: { notDeleted: false },
        lockMode: LockMode.PESSIMISTIC_WRITE,
      });
      if (device === null) throw notFound("device", id);
      if (!device.isDeleted) throw illegalTransition("device", "reinstate", "in service", []);
      const { serialNumber } = device;
      const later = await em.findOne(
        DeviceEntity,
        { serialNumber, id: { $gt: id } },
        { filters: { notDeleted: false }, orderBy: { id: "desc" } },
      );
      if (later !== null) throw replaced(serialNumber, later.id);
      device.enrolUntil = new Date(clock.now().getTime() + enrolAgainMs);
      await em.flush();
      await audit.record(em, {
        actor,
        action: "device.reinstate",
        resourceType: "device",
        resourceId: id,
        reason,
        details: { serial_number: serialNumber, enrol_until: device.enrolUntil.toISOString() },
      });
    });
  }
}

function replaced(serialNumber: string, laterId: string): Error {
  return nothingToDo(
    `another device has enrolled as ${serialNumber} since; that one would have to be retired and reinstated`,
    {
      serial_number: serialNumber,
      device_id: laterId,
    },
  );
}
