import type { EntityManager } from "@mikro-orm/postgresql";
import { v7 as uuidv7 } from "uuid";
import type { Database } from "../infra/database/database.ts";
import { AuditEventEntity, type AuditEventRow } from "./audit-event.entity.ts";
import type { ListPosition } from "./list-position.ts";

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

/** The record of who changed what, when and why. It is only ever added to. */
export class AuditLog {
  readonly #database: Pick<Database, "em">;

  constructor(parts: { readonly database: Pick<Database, "em"> }) {
    this.#database = parts.database;
  }

  /** Adds an entry within the caller's transaction: a change and its record are stored both or not at all. */
  async record(em: EntityManager, entry: AuditEntry): Promise<void> {
    await em.insert(AuditEventEntity, {
      id: uuidv7(),
      actor: entry.actor,
      action: entry.action,
      resourceType: entry.resourceType,
      resourceId: entry.resourceId,
      reason: entry.reason || null,
      details: { ...entry.details },
    });
  }

  /** Lists events, newest first, of one resource or one action if given. */
  async list(
    filter: { readonly resourceId?: string | undefined; readonly action?: string | undefined },
    { limit, after }: ListPosition,
  ): Promise<AuditEventRow[]> {
    return await this.#database.em().find(
      AuditEventEntity,
      {
        ...(filter.resourceId ? { resourceId: filter.resourceId } : {}),
        ...(filter.action ? { action: filter.action } : {}),
        ...(after === undefined ? {} : { id: { $lt: after } }),
      },
      { orderBy: { id: "desc" }, limit, disableIdentityMap: true },
    );
  }
}
