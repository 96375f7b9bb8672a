import { type FilterQuery, LockMode } from "@mikro-orm/core";
import type { AuditLog } from "../access/audit-log.ts";
import type { ListPosition } from "../call/list-page.ts";
import { notFound } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { AlertEntity, type AlertRow } from "./alert.entity.ts";

/** Which alerts to list; what is undefined or empty is no condition. */
export interface AlertFilter {
  readonly firing: boolean | undefined;
  readonly rule: string;
  readonly resourceId: string;
  readonly unacknowledged: boolean;
}

/** The alerts as people see them and take note of them. */
export class Alerts {
  readonly #parts: {
    readonly database: Pick<Database, "em" | "transact">;
    readonly audit: AuditLog;
    readonly clock: Clock;
  };

  constructor(parts: {
    readonly database: Pick<Database, "em" | "transact">;
    readonly audit: AuditLog;
    readonly clock: Clock;
  }) {
    this.#parts = parts;
  }

  /** Lists alerts, those that fired last first. */
  async list(filter: AlertFilter, { limit, after }: ListPosition): Promise<AlertRow[]> {
    const { firing, rule, resourceId, unacknowledged } = filter;
    const conditions: FilterQuery<AlertRow>[] = [];
    if (firing !== undefined) conditions.push({ resolvedAt: firing ? null : { $ne: null } });
    if (rule !== "") conditions.push({ rule });
    if (resourceId !== "") conditions.push({ resourceId });
    if (unacknowledged) conditions.push({ acknowledgedAt: null });
    if (after !== undefined) conditions.push({ id: { $lt: after } });
    return await this.#parts.database
      .em()
      .find(AlertEntity, conditions.length === 0 ? {} : { $and: conditions }, {
        orderBy: { id: "desc" },
        limit,
        disableIdentityMap: true,
      });
  }

  /** How many fire that nobody has acknowledged. */
  async countUnacknowledged(): Promise<number> {
    return await this.#parts.database.em().count(AlertEntity, { resolvedAt: null, acknowledgedAt: null });
  }

  /** Notes that somebody has taken note of it, unless somebody has. Throws `NOT_FOUND`. */
  async acknowledge(request: {
    readonly actor: string;
    readonly id: string;
    readonly note: string;
  }): Promise<AlertRow> {
    const { database, audit, clock } = this.#parts;
    const { actor, id, note } = request;
    return await database.transact(async (em) => {
      const row = await em.findOne(AlertEntity, id, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (row === null) throw notFound("alert", id);
      if (row.acknowledgedAt !== null) return row;
      row.acknowledgedAt = clock.now();
      row.acknowledger = actor;
      row.note = note;
      await audit.record(em, {
        actor,
        action: "alert.acknowledge",
        resourceType: "alert",
        resourceId: id,
        reason: note,
        details: { key: row.key },
      });
      return row;
    });
  }
}
