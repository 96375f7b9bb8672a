import type { FilterQuery } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import { type CallSource, currentCall } from "../call/current-call.ts";
import type { ListPosition } from "../call/list-page.ts";
import type { ListCondition } from "../filter/list-filter.ts";
import type { Database } from "../infra/database/database.ts";
import { ormCondition } from "../infra/database/orm-condition.ts";
import { RowArrays } from "../infra/database/row-arrays.ts";
import { sessionOf } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { AuditEventEntity, type AuditEventRow } from "./audit-event.entity.ts";

/** Something to put on record. */
export interface AuditEntry {
  /** Who: `operator:<token name>`, `device:<id>` or `system:<rule>`. */
  readonly actor: string;
  /** What, for example `rollout.promote`. */
  readonly action: string;
  readonly resourceType: string;
  readonly resourceId: string;
  /** Why, in words, if the caller said. */
  readonly reason?: string | undefined;
  /** Details by name. No secrets. */
  readonly details?: Readonly<Record<string, string>> | undefined;
}

/** Which events to list. */
export interface AuditFilter {
  readonly resourceId?: string | undefined;
  readonly action?: string | undefined;
  readonly actor?: string | undefined;
  readonly resourceType?: string | undefined;
  /** At or after this. */
  readonly startAt?: Date | undefined;
  /** Before this. */
  readonly endAt?: Date | undefined;
  /** What an expression says beside. */
  readonly matching?: ListCondition | undefined;
}

/** The record of who changed what, when and why, and from where. It is only ever added to; the database refuses anything else. */
export class AuditLog {
  readonly #database: Pick<Database, "em">;

  constructor(parts: { readonly database: Pick<Database, "em"> }) {
    this.#database = parts.database;
  }

  /** Adds an entry within the caller's transaction: a change and its record are stored both or not at all. */
  async record(em: EntityManager, entry: AuditEntry): Promise<void> {
    await this.recordAll(em, [entry]);
  }

  /** The same of many entries, in one statement. */
  async recordAll(em: EntityManager, entries: readonly AuditEntry[]): Promise<void> {
    if (entries.length === 0) return;
    await sessionOf(em).run(
      insertSql,
      recorded.values(entries.map((entry) => ({ ...entry, source: sourceOf(entry) }))),
    );
  }

  /** Lists events, newest first; what the filter does not name, or leaves empty, is no condition. */
  async list(filter: AuditFilter, { limit, after }: ListPosition): Promise<AuditEventRow[]> {
    const { resourceId, action, actor, resourceType, startAt, endAt, matching } = filter;
    const conditions: FilterQuery<AuditEventRow>[] = [];
    if (resourceId) conditions.push({ resourceId });
    if (action) conditions.push({ action });
    if (actor) conditions.push({ actor });
    if (resourceType) conditions.push({ resourceType });
    // The ids are in the order of time, but of the replicas' clocks: they bound what is read, the time decides.
    if (startAt !== undefined) {
      conditions.push(
        { occurredAt: { $gte: startAt } },
        { id: { $gte: idAt(startAt.getTime() - clockSlackMs) } },
      );
    }
    if (endAt !== undefined) {
      conditions.push({ occurredAt: { $lt: endAt } }, { id: { $lt: idAt(endAt.getTime() + clockSlackMs) } });
    }
    if (matching !== undefined) conditions.push(ormCondition(matching));
    if (after !== undefined) conditions.push({ id: { $lt: after } });
    return await this.#database
      .em()
      .find(AuditEventEntity, conditions.length === 0 ? {} : { $and: conditions }, {
        orderBy: { id: "desc" },
        limit,
        disableIdentityMap: true,
      });
  }
}

const recorded = new RowArrays<AuditEntry & { readonly source: CallSource | undefined }>({
  id: ["uuid", () => uuidv7()],
  actor: ["text", ({ actor }) => actor],
  action: ["text", ({ action }) => action],
  resource_type: ["text", ({ resourceType }) => resourceType],
  resource_id: ["text", ({ resourceId }) => resourceId],
  reason: ["text", ({ reason }) => reason || undefined],
  details: ["jsonb", ({ details }) => JSON.stringify({ ...details })],
  address: ["text", ({ source }) => source?.address],
  request_id: ["text", ({ source }) => source?.requestId],
});

/** One prepared statement for one entry and for a thousand: every change pays for it. */
const insertSql = sql`
  INSERT INTO audit_events (id, actor, action, resource_type, resource_id, reason, details, address, request_id)
  SELECT * FROM ${recorded.as(sql`recorded`)}`;

/** The call that did it: a call may also set going what acts by itself, and whoever enrols has no name before. */
function sourceOf({ actor }: AuditEntry): CallSource | undefined {
  const call = currentCall();
  if (call?.actor === actor) return call;
  return call?.actor === "anonymous" && actor.startsWith("device:") ? call : undefined;
}

/** The most that the clocks of replicas and database may differ. */
const clockSlackMs = 3_600_000;

/** The lowest UUID (version 7) of a time in milliseconds since 1970. */
function idAt(ms: number): string {
  const digits = Math.min(Math.max(ms, 0), 2 ** 48 - 1)
    .toString(16)
    .padStart(12, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8)}-7000-8000-000000000000`;
}
