import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument, OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { Parameters } from "../../infra/database/parameters.ts";
import type { ReadSession } from "../../infra/database/session.ts";
import { type Sql, sql } from "../../infra/database/sql.ts";
import { type DeviceFilter, parseDeviceFilter } from "../filter/device-filter.ts";
import { compileFilterSql } from "../filter/filter-sql.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import type { UpdatePin } from "../state/filterable-device.ts";
import { countDevices } from "./device-list.ts";
import type { DeviceRegistry } from "./device-registry.ts";

/** A change to many devices at once: those named by `deviceIds`, or those that `filter` matches. */
export interface BatchUpdate {
  readonly actor: string;
  readonly deviceIds: readonly string[];
  /** Empty if devices are named. */
  readonly filter: string;
  /** How many devices the caller believes that the filter matches; required with it, except to validate only. */
  readonly expectedCount: number | undefined;
  readonly addGroups: readonly string[];
  readonly removeGroups: readonly string[];
  readonly addTags: readonly string[];
  readonly removeTags: readonly string[];
  /** Undefined leaves pins as they are. */
  readonly updatePin: UpdatePin | undefined;
  /** The product that they run, empty for none; not together with other changes. Undefined leaves it as it is. */
  readonly product: string | undefined;
  /** Takes the devices out of service; not together with other changes. */
  readonly retire: boolean;
  readonly reason: string;
  readonly validateOnly: boolean;
}

/** What a batch did, or would do. */
export interface BatchOutcome {
  readonly matched: number;
  readonly changed: number;
}

/** What {@link DeviceBatches} is made of. */
export interface DeviceBatchParts {
  readonly database: Pick<Database, "transact" | "pool" | "heavyReads">;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly registry: Pick<DeviceRegistry, "retire" | "update">;
  readonly clock: Clock;
  readonly heartbeatIntervalMs: number;
}

/** Changes many devices in steps, each a transaction with its own audit event, so that no lock is held for long. */
export class DeviceBatches {
  readonly #parts: DeviceBatchParts;

  constructor(parts: DeviceBatchParts) {
    this.#parts = parts;
  }

  /**
   * Applies a change. What fails in between leaves the steps before done; a repeat does the rest. Retired devices never
   * match. Throws `INVALID_FILTER`, `INVALID_REQUEST`, and `COUNT_MISMATCH` before anything is changed.
   */
  async apply(batch: BatchUpdate, signal: AbortSignal): Promise<BatchOutcome> {
    requireSensible(batch);
    const filter = batch.filter === "" ? undefined : parseDeviceFilter(batch.filter);
    if (filter?.kind === "all") throw invalidArgument("filter", "must not be blank", "INVALID_FILTER");
    const { pool, heavyReads } = this.#parts.database;
    // Devices that are named are looked up; a filter may go through all of them.
    const session = filter === undefined ? pool : heavyReads.for({ signal });
    if (batch.validateOnly) return await this.#foresee(batch, filter, session);
    if (filter !== undefined) await this.#requireCount(filter, batch.expectedCount, session);
    const batchId = uuidv7();
    let matched = 0;
    let changed = 0;
    let after = lowestId;
    for (;;) {
      signal.throwIfAborted();
      const ids = await this.#nextIds(batch, filter, after, session);
      const last = ids.at(-1);
      if (last === undefined) return { matched, changed };
      if (batch.retire) changed += await this.#retire(batch, ids, signal);
      else if (batch.product !== undefined) changed += await this.#correct(batch, batch.product, ids, signal);
      else changed += await this.#change(batch, batchId, ids);
      matched += ids.length;
      after = last;
    }
  }

  async #foresee(
    batch: BatchUpdate,
    filter: DeviceFilter | undefined,
    session: ReadSession,
  ): Promise<BatchOutcome> {
    const parameters = new Parameters();
    const [row] = await session.query<{ matched: string; changed: string }>(
      sql`SELECT count(*) AS matched, count(*) FILTER (WHERE ${wouldChange(batch, parameters)}) AS changed
          FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
          WHERE NOT d.is_deleted AND ${this.#condition(batch, filter, parameters)}`,
      parameters.values,
    );
    return { matched: Number(row?.matched ?? 0), changed: Number(row?.changed ?? 0) };
  }

  async #requireCount(
    filter: DeviceFilter,
    expected: number | undefined,
    session: ReadSession,
  ): Promise<void> {
    if (expected === undefined) throw invalidArgument("expected_count", "is required with filter");
    const actual = await countDevices(session, filter, this.#moment());
    if (Math.abs(actual - expected) <= expected * toleratedShare) return;
    throw new OtaError(
      "failed_precondition",
      "COUNT_MISMATCH",
      `the filter matches ${actual} devices, not about ${expected}: nothing was changed`,
      { metadata: { expected_count: String(expected), actual_count: String(actual) } },
    );
  }

  /** The next devices in the order of their ids: what a step changes cannot move a device behind the next one. */
  async #nextIds(
    batch: BatchUpdate,
    filter: DeviceFilter | undefined,
    after: string,
    session: ReadSession,
  ): Promise<string[]> {
    const parameters = new Parameters();
    const rows = await session.query<{ id: string }>(
      sql`SELECT d.id FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
          WHERE NOT d.is_deleted AND ${this.#condition(batch, filter, parameters)}
            AND d.id > ${parameters.add(after, "uuid")} ORDER BY d.id LIMIT ${devicesPerBatch}`,
      parameters.values,
    );
    return rows.map(({ id }) => id);
  }

  async #change(batch: BatchUpdate, batchId: string, ids: readonly string[]): Promise<number> {
    const { database, audit, changes } = this.#parts;
    const changed = await database.transact(
      async (em, session) => {
        const parameters = new Parameters();
        const changedIds = await session.query<{ id: string; groups: number; tags: number }>(
          changeSql(batch, ids, parameters),
          parameters.values,
        );
        for (const { id, groups, tags } of changedIds) requireRoom(id, groups, tags);
        await audit.record(em, {
          actor: batch.actor,
          action: "device.batch_update",
          resourceType: "device_batch",
          resourceId: batchId,
          reason: batch.reason,
          details: detailsOf(batch, ids, changedIds.length),
        });
        return changedIds.map(({ id }) => id);
      },
      { retry: { attempts: 5 } },
    );
    changes.publishUpdates(changed);
    return changed.length;
  }

  /** One by one: each retirement revokes credentials and cancels an update, all in a transaction of its own. */
  async #retire(
    { actor, reason }: BatchUpdate,
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<number> {
    for (const id of ids) {
      signal.throwIfAborted();
      await this.#parts.registry.retire({ actor, id, reason });
    }
    return ids.length;
  }

  /** One by one: each correction asks the device's open update again, in a transaction of its own. */
  async #correct(
    batch: BatchUpdate,
    product: string,
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<number> {
    const parameters = new Parameters();
    const others = await this.#parts.database.pool.query<{ id: string }>(
      sql`SELECT d.id FROM devices d WHERE d.id = ANY(${parameters.add(ids, "uuid[]")}) AND NOT d.is_deleted
            AND ${wouldChange(batch, parameters)} ORDER BY d.id`,
      parameters.values,
    );
    const { actor, reason } = batch;
    for (const { id } of others) {
      signal.throwIfAborted();
      await this.#parts.registry.update({ actor, id, product, reason });
    }
    return others.length;
  }

  #condition({ deviceIds }: BatchUpdate, filter: DeviceFilter | undefined, parameters: Parameters): Sql {
    if (filter !== undefined) return compileFilterSql(filter, parameters, this.#moment());
    return sql`d.id = ANY(${parameters.add(deviceIds, "uuid[]")})`;
  }

  #moment(): { nowMs: number; heartbeatIntervalMs: number } {
    const { clock, heartbeatIntervalMs } = this.#parts;
    return { nowMs: clock.now().getTime(), heartbeatIntervalMs };
  }
}

/** Some tens of milliseconds: devices that are changed wait no longer for anybody. */
const devicesPerBatch = 1_000;

/** By how much a fleet may grow or shrink between the look and the deed. */
const toleratedShare = 0.01;

/** Of groups, and of tags, by the contract. */
const maxNames = 32;

const lowestId = "00000000-0000-0000-0000-000000000000";

function requireSensible(batch: BatchUpdate): void {
  const { addGroups, removeGroups, addTags, removeTags, updatePin, product, retire } = batch;
  const names = [...addGroups, ...removeGroups, ...addTags, ...removeTags];
  const changes = names.length > 0 || updatePin !== undefined;
  if (retire && changes) throw invalidArgument("retire", "cannot come together with other changes");
  if (product !== undefined && (changes || retire))
    throw invalidArgument("product", "cannot come together with other changes");
  if (!retire && !changes && product === undefined)
    throw invalidArgument("add_groups", "or another change is required");
  requireDistinct("remove_groups", addGroups, removeGroups);
  requireDistinct("remove_tags", addTags, removeTags);
}

function requireDistinct(field: string, added: readonly string[], removed: readonly string[]): void {
  const both = removed.find((name) => added.includes(name));
  if (both !== undefined) throw invalidArgument(field, `${both} cannot be added and removed at once`);
}

function requireRoom(id: string, groups: number, tags: number): void {
  if (groups > maxNames)
    throw invalidArgument("add_groups", `device ${id} would be in more than ${maxNames} groups`);
  if (tags > maxNames)
    throw invalidArgument("add_tags", `device ${id} would carry more than ${maxNames} tags`);
}

function wouldChange(batch: BatchUpdate, parameters: Parameters): Sql {
  if (batch.retire) return sql`true`;
  if (batch.product !== undefined) return sql`d.product <> ${parameters.add(batch.product, "text")}`;
  const { updatePin } = batch;
  const list = (names: readonly string[]) => parameters.add(names, "text[]");
  const pin =
    updatePin === undefined ? sql`false` : sql`d.update_pin <> ${parameters.add(updatePin, "text")}`;
  return sql`(NOT d.groups @> ${list(batch.addGroups)} OR d.groups && ${list(batch.removeGroups)}
    OR NOT d.tags @> ${list(batch.addTags)} OR d.tags && ${list(batch.removeTags)} OR ${pin})`;
}

/** Rows are locked in the order of their ids, so that two batches wait for each other and never in a circle. */
function changeSql(batch: BatchUpdate, ids: readonly string[], parameters: Parameters): Sql {
  const pin = parameters.add(batch.updatePin ?? null, "text");
  return sql`
    WITH locked AS MATERIALIZED (
      SELECT id FROM devices WHERE id = ANY(${parameters.add(ids, "uuid[]")}) AND NOT is_deleted ORDER BY id FOR UPDATE)
    UPDATE devices AS d
       SET groups = ${merged(sql`d.groups`, batch.addGroups, batch.removeGroups, parameters)},
           tags = ${merged(sql`d.tags`, batch.addTags, batch.removeTags, parameters)},
           update_pin = coalesce(${pin}, d.update_pin),
           updated_at = now()
      FROM locked WHERE d.id = locked.id AND ${wouldChange(batch, parameters)}
    RETURNING d.id, cardinality(d.groups) AS groups, cardinality(d.tags) AS tags`;
}

/** In the order in which they were, the new ones last. */
function merged(
  column: Sql,
  added: readonly string[],
  removed: readonly string[],
  parameters: Parameters,
): Sql {
  return sql`array(
    SELECT name FROM unnest(${column} || ${parameters.add(added, "text[]")}) WITH ORDINALITY AS u (name, place)
    WHERE name <> ALL(${parameters.add(removed, "text[]")}) GROUP BY name ORDER BY min(place))`;
}

function detailsOf(batch: BatchUpdate, ids: readonly string[], changed: number): Record<string, string> {
  const { filter, addGroups, removeGroups, addTags, removeTags, updatePin } = batch;
  const given = {
    filter,
    add_groups: addGroups.join(","),
    remove_groups: removeGroups.join(","),
    add_tags: addTags.join(","),
    remove_tags: removeTags.join(","),
    update_pin: updatePin ?? "",
    first_device_id: ids[0] ?? "",
    last_device_id: ids.at(-1) ?? "",
    matched_count: String(ids.length),
    changed_count: String(changed),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
}
