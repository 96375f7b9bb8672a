import { type FilterQuery, LockMode } from "@mikro-orm/core";
import type { AuditLog } from "../access/audit-log.ts";
import type { ListPosition } from "../call/list-page.ts";
import { notFound } from "../errors.ts";
import type { ListCondition } from "../filter/list-filter.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { ormCondition } from "../infra/database/orm-condition.ts";
import { sql } from "../infra/database/sql.ts";
import { AlertEntity, type AlertRow } from "./alert.entity.ts";

/** Which alerts to list; what is undefined or empty is no condition. */
export interface AlertFilter {
  readonly firing: boolean | undefined;
  readonly rule: string;
  readonly resourceId: string;
  readonly unacknowledged: boolean;
  readonly acknowledged: boolean;
  /** What an expression says beside. */
  readonly matching?: ListCondition | undefined;
}

/** The alerts as people see them and take note of them. */
export class Alerts {
  readonly #parts: {
    readonly database: Pick<Database, "em" | "pool" | "transact">;
    readonly audit: AuditLog;
    readonly clock: Clock;
  };

  constructor(parts: {
    readonly database: Pick<Database, "em" | "pool" | "transact">;
    readonly audit: AuditLog;
    readonly clock: Clock;
  }) {
    this.#parts = parts;
  }

  /** Lists alerts, those that fired last first. */
  async list(filter: AlertFilter, { limit, after }: ListPosition): Promise<AlertRow[]> {
    const { firing, rule, resourceId, unacknowledged, acknowledged, matching } = filter;
    const conditions: FilterQuery<AlertRow>[] = [];
    if (firing !== undefined) conditions.push({ resolvedAt: firing ? null : { $ne: null } });
    if (rule !== "") conditions.push({ rule });
    if (resourceId !== "") conditions.push({ resourceId });
    if (unacknowledged) conditions.push({ acknowledgedAt: null });
    if (acknowledged) conditions.push({ acknowledgedAt: { $ne: null } });
    if (matching !== undefined) conditions.push(ormCondition(matching));
    if (after !== undefined) conditions.push({ id: { $lt: after } });
    return await this.#parts.database
      .em()
      .find(AlertEntity, conditions.length === 0 ? {} : { $and: conditions }, {
        orderBy: { id: "desc" },
        limit,
        disableIdentityMap: true,
      });
  }

  /** How many fire that somebody has acknowledged, and that nobody has. */
  async countFiring(): Promise<{ readonly acknowledged: number; readonly unacknowledged: number }> {
    const [counts] = await this.#parts.database.pool.query<FiringCounts>(countSql);
    return {
      acknowledged: Number(counts?.acknowledged ?? 0),
      unacknowledged: Number(counts?.unacknowledged ?? 0),
    };
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

interface FiringCounts {
  readonly acknowledged: string;
  readonly unacknowledged: string;
}

const countSql = sql`
  SELECT count(acknowledged_at) AS acknowledged, count(*) FILTER (WHERE acknowledged_at IS NULL) AS unacknowledged
    FROM alerts WHERE resolved_at IS NULL`;
