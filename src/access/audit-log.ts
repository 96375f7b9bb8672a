import type { FilterQuery } from "@mikro-orm/core";
import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import { type CallSource, currentCall } from "../call/current-call.ts";
import type { ListPosition } from "../call/list-page.ts";
import type { ListCondition } from "../filter/list-filter.ts";
import type { Database } from "../infra/database/database.ts";
import { ormCondition } from "../infra/database/orm-condition.ts";
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
    await em.insert(AuditEventEntity, rowOf(entry));
  }

  /** The same of many entries, in one statement. */
  async recordAll(em: EntityManager, entries: readonly AuditEntry[]): Promise<void> {
    if (entries.length > 0) await em.insertMany(AuditEventEntity, entries.map(rowOf));
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
    if (matching !== undefined) conditions.push(ormCondition((parameters) => matching.sql(parameters)));
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

function rowOf(entry: AuditEntry) {
  const source = sourceOf(entry);
  return {
    id: uuidv7(),
    actor: entry.actor,
    action: entry.action,
    resourceType: entry.resourceType,
    resourceId: entry.resourceId,
    reason: entry.reason || null,
    details: { ...entry.details },
    address: source?.address ?? null,
    requestId: source?.requestId ?? null,
  };
}

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
