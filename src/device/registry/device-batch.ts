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
import {
  type BatchUpdate,
  changeSql,
  detailsOf,
  requireRoom,
  requireSensible,
  wouldChange,
} from "./batch-update.ts";
import { countDevices } from "./device-list.ts";
import type { DeviceRegistry } from "./device-registry.ts";
import type { DeviceStandings, StandingVerb } from "./device-standings.ts";
import type { TokenRotation } from "./token-rotation.ts";

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
  readonly standings: Pick<DeviceStandings, StandingVerb>;
  readonly tokenRotation: Pick<TokenRotation, "request">;
  /** The most devices whose standing or token one call may change. */
  readonly maxStandings: number;
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
   * match. Throws `INVALID_FILTER`, `INVALID_REQUEST`, `COUNT_MISMATCH` and `TOO_MANY_DEVICES` before anything is changed.
   */
  async apply(batch: BatchUpdate, signal: AbortSignal): Promise<BatchOutcome> {
    requireSensible(batch);
    const filter = batch.filter === "" ? undefined : parseDeviceFilter(batch.filter);
    if (filter?.kind === "all") throw invalidArgument("filter", "must not be blank", "INVALID_FILTER");
    const { pool, heavyReads } = this.#parts.database;
    // Devices that are named are looked up; a filter may go through all of them.
    const session = filter === undefined ? pool : heavyReads.for({ signal });
    let foreseen: BatchOutcome | undefined;
    const isBounded = batch.standingVerb !== undefined || batch.rotateToken;
    if (batch.validateOnly || isBounded) {
      foreseen = await this.#foresee(batch, filter, session);
      if (isBounded) this.#requireFew(foreseen);
      if (batch.validateOnly) return foreseen;
    }
    if (filter !== undefined)
      await this.#requireCount(filter, batch.expectedCount, session, foreseen?.matched);
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
      else if (batch.product !== undefined || isBounded)
        changed += await this.#changeEach(batch, ids, signal);
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

  /** @param counted how many match, if they have been counted already */
  async #requireCount(
    filter: DeviceFilter,
    expected: number | undefined,
    session: ReadSession,
    counted: number | undefined,
  ): Promise<void> {
    if (expected === undefined) throw invalidArgument("expected_count", "is required with filter");
    const actual = counted ?? (await countDevices(session, filter, this.#moment()));
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

  /** One by one, those that would change: each asks the device's open update again, or cancels it, in a transaction of its own. */
  async #changeEach(batch: BatchUpdate, ids: readonly string[], signal: AbortSignal): Promise<number> {
    const parameters = new Parameters();
    const others = await this.#parts.database.pool.query<{ id: string }>(
      sql`SELECT d.id FROM devices d WHERE d.id = ANY(${parameters.add(ids, "uuid[]")}) AND NOT d.is_deleted
            AND ${wouldChange(batch, parameters)} ORDER BY d.id`,
      parameters.values,
    );
    const { actor, reason, product, standingVerb, rotateToken } = batch;
    for (const { id } of others) {
      signal.throwIfAborted();
      if (rotateToken) await this.#parts.tokenRotation.request({ actor, id, reason });
      else if (standingVerb !== undefined) await this.#parts.standings[standingVerb]({ actor, id, reason });
      else if (product !== undefined) await this.#parts.registry.update({ actor, id, product, reason });
    }
    return others.length;
  }

  #requireFew({ changed }: BatchOutcome): void {
    const { maxStandings } = this.#parts;
    if (changed <= maxStandings) return;
    throw new OtaError(
      "failed_precondition",
      "TOO_MANY_DEVICES",
      `${changed} devices would be let in otherwise than before, or need another token, and one call changes at most ${maxStandings}: nothing was changed`,
      { metadata: { count: String(changed), limit: String(maxStandings) } },
    );
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

const lowestId = "00000000-0000-0000-0000-000000000000";
