import type { Pool } from "pg";
import { v7 as uuidv7 } from "uuid";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument, OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { withRetry } from "../../infra/database/errors.ts";
import { type DeviceFilter, parseDeviceFilter } from "../filter/device-filter.ts";
import { compileFilterSql, type FilterSql } from "../filter/filter-sql.ts";
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
  readonly database: Pick<Database, "em" | "adminPool">;
  readonly audit: AuditLog;
  readonly changes: DeviceChanges;
  readonly registry: Pick<DeviceRegistry, "retire">;
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
    if (batch.validateOnly) return await this.#foresee(batch, filter);
    if (filter !== undefined) await this.#requireCount(filter, batch.expectedCount);
    const batchId = uuidv7();
    let matched = 0;
    let changed = 0;
    let after = lowestId;
    for (;;) {
      signal.throwIfAborted();
      const ids = await this.#nextIds(batch, filter, after);
      const last = ids.at(-1);
      if (last === undefined) return { matched, changed };
      changed += batch.retire
        ? await this.#retire(batch, ids, signal)
        : await this.#change(batch, batchId, ids);
      matched += ids.length;
      after = last;
    }
  }

  async #foresee(batch: BatchUpdate, filter: DeviceFilter | undefined): Promise<BatchOutcome> {
    const named = this.#condition(batch, filter);
    const { rows } = await this.#pool.query<{ matched: string; changed: string }>(
      `SELECT count(*) AS matched, count(*) FILTER (WHERE ${wouldChange(batch, dollars(named.values))}) AS changed
         FROM devices d LEFT JOIN device_state s ON s.device_id = d.id WHERE NOT d.is_deleted AND ${named.sql}`,
      named.values,
    );
    return { matched: Number(rows[0]?.matched ?? 0), changed: Number(rows[0]?.changed ?? 0) };
  }

  async #requireCount(filter: DeviceFilter, expected: number | undefined): Promise<void> {
    if (expected === undefined) throw invalidArgument("expected_count", "is required with filter");
    const actual = await countDevices(this.#pool, filter, this.#moment());
    if (Math.abs(actual - expected) <= expected * toleratedShare) return;
    throw new OtaError(
      "failed_precondition",
      "COUNT_MISMATCH",
      `the filter matches ${actual} devices, not about ${expected}: nothing was changed`,
      { metadata: { expected_count: String(expected), actual_count: String(actual) } },
    );
  }

  /** The next devices in the order of their ids: what a step changes cannot move a device behind the next one. */
  async #nextIds(batch: BatchUpdate, filter: DeviceFilter | undefined, after: string): Promise<string[]> {
    const { sql, values } = this.#condition(batch, filter);
    const { rows } = await this.#pool.query<{ id: string }>(
      `SELECT d.id FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
        WHERE NOT d.is_deleted AND ${sql} AND d.id > $${values.length + 1}::uuid ORDER BY d.id LIMIT ${stepDevices}`,
      [...values, after],
    );
    return rows.map(({ id }) => id);
  }

  async #change(batch: BatchUpdate, batchId: string, ids: readonly string[]): Promise<number> {
    const { database, audit, changes } = this.#parts;
    const changed = await withRetry(
      () =>
        database.em().transactional(async (em) => {
          const values: unknown[] = [];
          const question = questions(values);
          const changedIds = await em.execute<{ id: string; groups: number; tags: number }[]>(
            changeSql(batch, ids, question),
            values,
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
        }),
      { attempts: 5 },
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

  #condition(
    { deviceIds }: BatchUpdate,
    filter: DeviceFilter | undefined,
  ): FilterSql & { values: unknown[] } {
    if (filter === undefined) return { sql: "d.id = ANY($1::uuid[])", values: [deviceIds] };
    const { sql, values } = compileFilterSql(filter, this.#moment());
    return { sql, values: [...values] };
  }

  #moment(): { nowMs: number; heartbeatIntervalMs: number } {
    const { clock, heartbeatIntervalMs } = this.#parts;
    return { nowMs: clock.now().getTime(), heartbeatIntervalMs };
  }

  get #pool(): Pool {
    return this.#parts.database.adminPool;
  }
}

/** Some tens of milliseconds: devices that are changed wait no longer for anybody. */
const stepDevices = 1_000;

/** By how much a fleet may grow or shrink between the look and the deed. */
const toleratedShare = 0.01;

/** Of groups, and of tags, by the contract. */
const maxNames = 32;

const lowestId = "00000000-0000-0000-0000-000000000000";

function requireSensible(batch: BatchUpdate): void {
  const { addGroups, removeGroups, addTags, removeTags, updatePin, retire } = batch;
  const names = [...addGroups, ...removeGroups, ...addTags, ...removeTags];
  const changes = names.length > 0 || updatePin !== undefined;
  if (retire && changes) throw invalidArgument("retire", "cannot come together with other changes");
  if (!retire && !changes) throw invalidArgument("add_groups", "or another change is required");
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

type Placeholder = (value: string | null, type: string) => string;

/** Parameters as pg counts them. */
function dollars(values: unknown[]): Placeholder {
  return (value, type) => {
    values.push(value);
    return `$${values.length}::${type}`;
  };
}

/** Parameters as the ORM takes them. */
function questions(values: unknown[]): Placeholder {
  return (value, type) => {
    values.push(value);
    return `?::${type}`;
  };
}

/** Names hold no commas, so a list travels as one text. */
function list(names: readonly string[], place: Placeholder): string {
  return `string_to_array(${place(names.join(","), "text")}, ',')`;
}

function wouldChange(batch: BatchUpdate, place: Placeholder): string {
  if (batch.retire) return "true";
  const pin = batch.updatePin === undefined ? "false" : `d.update_pin <> ${place(batch.updatePin, "text")}`;
  return `(NOT d.groups @> ${list(batch.addGroups, place)} OR d.groups && ${list(batch.removeGroups, place)}
    OR NOT d.tags @> ${list(batch.addTags, place)} OR d.tags && ${list(batch.removeTags, place)} OR ${pin})`;
}

/** Rows are locked in the order of their ids, so that two batches wait for each other and never in a circle. */
function changeSql(batch: BatchUpdate, ids: readonly string[], place: Placeholder): string {
  return `
    WITH locked AS MATERIALIZED (
      SELECT id FROM devices WHERE id = ANY(${list(ids, place)}::uuid[]) AND NOT is_deleted ORDER BY id FOR UPDATE)
    UPDATE devices AS d
       SET groups = ${merged("d.groups", batch.addGroups, batch.removeGroups, place)},
           tags = ${merged("d.tags", batch.addTags, batch.removeTags, place)},
           update_pin = coalesce(${place(batch.updatePin ?? null, "text")}, d.update_pin),
           updated_at = now()
      FROM locked WHERE d.id = locked.id AND ${wouldChange(batch, place)}
    RETURNING d.id, cardinality(d.groups) AS groups, cardinality(d.tags) AS tags`;
}

/** In the order in which they were, the new ones last. */
function merged(
  column: string,
  added: readonly string[],
  removed: readonly string[],
  place: Placeholder,
): string {
  return `array(SELECT name FROM unnest(${column} || ${list(added, place)}) WITH ORDINALITY AS u (name, place)
            WHERE name <> ALL(${list(removed, place)}) GROUP BY name ORDER BY min(place))`;
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
