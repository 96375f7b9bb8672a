import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument, notFound, OtaError } from "../../errors.ts";
import type { Database } from "../../infra/database/database.ts";
import { uniqueViolation } from "../../infra/database/errors.ts";
import type { IdempotencyKeys } from "../../infra/database/idempotency-keys.ts";
import { requestDigest } from "../../infra/database/request-digest.ts";
import { parseDeviceFilter } from "../filter/device-filter.ts";
import { SavedFilterEntity, type SavedFilterRow } from "./saved-filter.entity.ts";

/** A filter to keep. */
export interface NewSavedFilter {
  readonly actor: string;
  /** The caller's UUID of this try (AIP-155). */
  readonly requestId: string | undefined;
  readonly name: string;
  readonly filter: string;
}

/** Filters over devices that operators keep under a name, for all of them. */
export class SavedFilters {
  readonly #parts: {
    readonly database: Pick<Database, "em" | "transact">;
    readonly idempotency: IdempotencyKeys;
    readonly audit: AuditLog;
  };

  constructor(parts: {
    readonly database: Pick<Database, "em" | "transact">;
    readonly idempotency: IdempotencyKeys;
    readonly audit: AuditLog;
  }) {
    this.#parts = parts;
  }

  /** Keeps a filter. Throws `INVALID_FILTER`, `DUPLICATE` for a name that is taken, `REQUEST_ID_REUSED`. */
  async create({ actor, requestId, name, filter }: NewSavedFilter): Promise<SavedFilterRow> {
    const { database, idempotency, audit } = this.#parts;
    parseDeviceFilter(filter);
    const key = {
      caller: actor,
      method: "ota.v1.DeviceService/CreateSavedFilter",
      requestId,
      requestDigest: requestDigest({ name, filter }),
    };
    try {
      return await database.transact(async (em) => {
        const { resourceId } = await idempotency.once(em, key, async () => {
          if ((await em.count(SavedFilterEntity)) >= maxSaved) throw full();
          const id = uuidv7();
          await em.insert(SavedFilterEntity, { id, name, filter, creator: actor });
          await audit.record(em, {
            actor,
            action: "saved_filter.create",
            resourceType: "saved_filter",
            resourceId: id,
            details: { name, filter },
          });
          return id;
        });
        const row = await em.findOne(SavedFilterEntity, resourceId);
        // A repeat after somebody deleted it: it is gone, and the repeat makes no new one.
        if (row === null) throw notFound("saved filter", resourceId);
        return row;
      });
    } catch (error) {
      if (uniqueViolation(error) !== "saved_filters_name_unique") throw error;
      throw new OtaError("already_exists", "DUPLICATE", `a filter named ${name} is saved already`, {
        metadata: { resource: "saved_filter", name },
      });
    }
  }

  /** All of them by name. */
  async list(): Promise<SavedFilterRow[]> {
    return await this.#parts.database
      .em()
      .find(SavedFilterEntity, {}, { orderBy: { name: "asc" }, limit: maxSaved, disableIdentityMap: true });
  }

  /** Forgets one. Throws `NOT_FOUND`. */
  async delete({ actor, id }: { readonly actor: string; readonly id: string }): Promise<void> {
    const { database, audit } = this.#parts;
    await database.transact(async (em) => {
      const row = await em.findOne(SavedFilterEntity, id);
      if (row === null) throw notFound("saved filter", id);
      await em.nativeDelete(SavedFilterEntity, { id });
      await audit.record(em, {
        actor,
        action: "saved_filter.delete",
        resourceType: "saved_filter",
        resourceId: id,
        details: { name: row.name, filter: row.filter },
      });
    });
  }
}

/** One page of the contract; more than people find their way in. */
const maxSaved = 1_000;

function full(): OtaError {
  return invalidArgument("name", `${maxSaved} filters are saved already: delete one first`);
}
