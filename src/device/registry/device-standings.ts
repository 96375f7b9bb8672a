import { LockMode } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { AuditLog } from "../../access/audit-log.ts";
import type { DeviceCredentials } from "../../access/device-credentials.ts";
import { illegalTransition, notFound } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { DeviceEntity, type DeviceRow } from "../state/device.entity.ts";
import type { DeviceChange, DeviceChanges } from "../state/device-changes.ts";
import { standingOf } from "../state/standing.ts";
import { forgetBoots } from "./clone-watch.ts";
import type { DeviceVerb } from "./device-registry.ts";

/** Whoever must act in the same transaction when a device is blocked, for example to cancel its open update. */
export interface DeviceBlocked {
  /** Must not commit. A failure undoes the block. */
  deviceBlocked(em: EntityManager, device: { readonly id: string }): Promise<void>;
}

/** What operators do to a device's standing. */
export type StandingVerb = "block" | "unblock" | "quarantine" | "approve";

/** What {@link DeviceStandings} is made of. */
export interface DeviceStandingsParts {
  readonly database: Pick<Database, "transact">;
  readonly credentials: DeviceCredentials;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly blocked: readonly DeviceBlocked[];
  readonly clock: Clock;
}

/**
 * How far devices are let in, as operators say: see `Standing`. Each verb says whether it changed something. All throw
 * `NOT_FOUND`, and `ILLEGAL_TRANSITION` for a retired device.
 */
export class DeviceStandings {
  readonly #parts: DeviceStandingsParts;

  constructor(parts: DeviceStandingsParts) {
    this.#parts = parts;
  }

  /** Lets nothing of a device in: its streams end, its credentials are refused while it lasts, and its open update is cancelled. */
  async block(verb: DeviceVerb): Promise<boolean> {
    const { clock, blocked } = this.#parts;
    return await this.#change(verb, "block", async (em, device) => {
      if (device.blockedAt !== null) return undefined;
      device.blockedAt = clock.now();
      await em.flush();
      for (const observer of blocked) await observer.deviceBlocked(em, { id: device.id });
      return "blocked";
    });
  }

  /** Lets a blocked device in again, with the credential that it had. */
  async unblock(verb: DeviceVerb): Promise<boolean> {
    return await this.#change(verb, "unblock", async (em, device) => {
      if (device.blockedAt === null) return undefined;
      device.blockedAt = null;
      await em.flush();
      return "updated";
    });
  }

  /** Offers a device nothing any more. An update that it is taking goes on. */
  async quarantine(verb: DeviceVerb): Promise<boolean> {
    return await this.#change(verb, "quarantine", async (em, device) => {
      if (device.quarantinedAt !== null) return undefined;
      device.quarantinedAt = this.#parts.clock.now();
      await em.flush();
      return "updated";
    });
  }

  /**
   * Takes a device out of quarantine, or approves one that enrolled with a key that asks for it; one that is suspected to have a clone is
   * so no more, until it happens again.
   */
  async approve(verb: DeviceVerb): Promise<boolean> {
    return await this.#change(verb, "approve", async (em, device) => {
      if (device.quarantinedAt === null && device.cloneSuspectedAt === null) return undefined;
      device.quarantinedAt = null;
      device.cloneSuspectedAt = null;
      await em.flush();
      await forgetBoots(em, device.id);
      return "updated";
    });
  }

  /** Runs a verb's work, which returns how to announce it; puts it on record, and lets every replica read the credentials again. */
  async #change(
    { actor, id, reason }: DeviceVerb,
    verb: StandingVerb,
    work: (em: EntityManager, device: DeviceRow) => Promise<DeviceChange["kind"] | undefined>,
  ): Promise<boolean> {
    const { database, credentials, audit, changes } = this.#parts;
    const changed = await database.transact(
      async (em) => {
        const device = await em.findOne(DeviceEntity, id, {
          filters: { notDeleted: false },
          lockMode: LockMode.PESSIMISTIC_WRITE,
        });
        if (device === null) throw notFound("device", id);
        if (device.isDeleted) throw illegalTransition("device", verb, "retired", []);
        const before = standingOf(device);
        const kind = await work(em, device);
        if (kind === undefined) return undefined;
        await audit.record(em, {
          actor,
          action: `device.${verb}`,
          resourceType: "device",
          resourceId: id,
          reason,
          details: {
            serial_number: device.serialNumber,
            from_standing: before,
            to_standing: standingOf(device),
          },
        });
        return { kind, hashes: await credentials.live(em, id) };
      },
      { retry: { attempts: 5 } },
    );
    if (changed === undefined) return false;
    credentials.forget(changed.hashes);
    changes.publish({ deviceId: id, kind: changed.kind });
    return true;
  }
}
