import type { EntityManager } from "@mikro-orm/postgresql";
import type { Logger } from "pino";
import { fromTo } from "../../access/audit-change.ts";
import type { AuditLog } from "../../access/audit-log.ts";
import { invalidArgument } from "../../errors.ts";
import type { Background } from "../../infra/background/background.ts";
import { Round } from "../../infra/background/round.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import { sessionOf } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import type { DeviceChanges } from "../state/device-changes.ts";
import { DeviceTypeEntity } from "../state/device-type.entity.ts";
import { intervalText } from "./expected-interval.ts";
import { requireTargetNames } from "./target-names.ts";

/** What {@link DeviceTypes} are made of. */
export interface DeviceTypesParts {
  readonly database: Pick<Database, "pool" | "transact">;
  readonly audit: AuditLog;
  readonly changes: Pick<DeviceChanges, "publishUpdates">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A device type. */
export interface DeviceType {
  readonly name: string;
  /** Devices in service. */
  readonly deviceCount: number;
  /** How often a sign of life of its devices is expected; undefined if no operator said so. */
  readonly expectedIntervalMs: number | undefined;
  /** When an operator said so. */
  readonly updatedAt: Date | undefined;
}

/** What an operator says of a device type. */
export interface DeviceTypeUpdate {
  readonly actor: string;
  readonly name: string;
  /** 0 takes away what was said; undefined leaves it. */
  readonly expectedIntervalMs: number | undefined;
  readonly reason: string;
}

/**
 * The device types, by the names under which devices enrol, and what operators say of them. What is said of a type is
 * written to the state of each of its devices, which presence is judged by: a page of them at a time, by any replica, until
 * all follow. Devices that come meanwhile follow by themselves.
 */
export class DeviceTypes {
  readonly #parts: DeviceTypesParts;
  readonly #round: Round;

  constructor(parts: DeviceTypesParts) {
    const { clock, logger } = parts;
    this.#parts = parts;
    this.#round = new Round({
      name: "device_types",
      everyMs: lookMs,
      work: (signal) => this.#spreadAll(signal),
      clock,
      logger,
    });
  }

  /** Finishes from now on what this replica or another one began. */
  start(background: Background): void {
    background.add(this.#round);
    this.#round.start();
  }

  /** Lets the devices follow what was said of their types. Happens by itself. */
  spread(): Promise<void> {
    return this.#round.run();
  }

  /** The types that devices are of, or of which an operator said something, by name; at most {@link maxTypes}. */
  async list(): Promise<readonly DeviceType[]> {
    try {
      return (await this.#parts.database.pool.query<ListedRow>(listSql)).map(listed);
    } catch (error) {
      throw asDatabaseError(error) ?? error;
    }
  }

  /** Says something of a type; the same again changes nothing. `INVALID_ARGUMENT` for a name that is none, and beyond {@link maxTypes}. */
  async update(update: DeviceTypeUpdate): Promise<DeviceType> {
    requireTargetNames({ name: update.name });
    const changed = await this.#parts.database.transact((em) => this.#write(em, update));
    if (changed) this.#round.soon(0);
    const { name } = update;
    const rows = await this.#parts.database.pool.query<ListedRow>(oneSql, [name]);
    return (
      rows.map(listed)[0] ?? { name, deviceCount: 0, expectedIntervalMs: undefined, updatedAt: undefined }
    );
  }

  async #write(
    em: EntityManager,
    { actor, name, expectedIntervalMs, reason }: DeviceTypeUpdate,
  ): Promise<boolean> {
    const session = sessionOf(em);
    // Whoever is adding a device by what held before is waited for, so that spreading finds it.
    await session.run(lockSql);
    const known = await em.findOne(DeviceTypeEntity, name, { disableIdentityMap: true });
    const before = known?.expectedIntervalMs ?? null;
    const after = expectedIntervalMs === 0 ? null : expectedIntervalMs;
    if (after === undefined || after === before) return false;
    if (known === null && (await em.count(DeviceTypeEntity)) >= maxTypes)
      throw invalidArgument(
        "name",
        `there is an interval for ${maxTypes} types already: take one away first`,
      );
    await session.run(writeSql, [name, after]);
    await this.#parts.audit.record(em, {
      actor,
      action: "device_type.update",
      resourceType: "device_type",
      resourceId: name,
      reason,
      details: fromTo("expected_interval", intervalText(before), intervalText(after)),
    });
    return true;
  }

  async #spreadAll(signal: AbortSignal): Promise<void> {
    for (const type of await this.#parts.database.pool.query<UnspreadRow>(unspreadSql)) {
      if (!(await this.#spread(type, signal))) return;
    }
  }

  /** Whether it came to the end. */
  async #spread({ name, revision }: UnspreadRow, signal: AbortSignal): Promise<boolean> {
    const { pool } = this.#parts.database;
    let after: string | undefined = firstId;
    while (after !== undefined) {
      if (signal.aborted) return false;
      const page: readonly IdRow[] = await pool.query<IdRow>(pageSql, [name, after]);
      const ids = page.map(({ id }) => id);
      const changed = await pool.transact((session) => session.query<IdRow>(followSql, [ids]), {
        retry: { attempts: 5 },
      });
      this.#parts.changes.publishUpdates(changed.map(({ id }) => id));
      after = page.length < pageRows ? undefined : ids.at(-1);
    }
    await pool.run(forgetSql, [name, revision]);
    await pool.run(spreadSql, [name, revision]);
    return true;
  }
}

/** What an operator cannot read at a glance is no list; what has an interval of its own is looked up for each newcomer. */
const maxTypes = 1_000;

/** How soon a replica finishes what another one left. */
const lookMs = 10_000;

/** Devices that follow at once: some ten milliseconds, in which their newest readings wait. */
const pageRows = 1_000;

const firstId = "00000000-0000-0000-0000-000000000000";

interface ListedRow {
  readonly name: string;
  readonly count: string;
  readonly interval: string | null;
  readonly updated_at: Date | null;
}

interface UnspreadRow {
  readonly name: string;
  readonly revision: number;
}

interface IdRow {
  readonly id: string;
}

function listed({ name, count, interval, updated_at }: ListedRow): DeviceType {
  return {
    name,
    deviceCount: Number(count),
    expectedIntervalMs: interval === null ? undefined : Number(interval),
    updatedAt: updated_at ?? undefined,
  };
}

const typesSql = sql`
  SELECT coalesce(c.name, t.name) AS name, coalesce(c.count, 0) AS count, t.expected_interval_ms AS interval, t.updated_at
    FROM (SELECT name, sum(count) AS count FROM fleet_counts WHERE dimension = 'device_type' GROUP BY name HAVING sum(count) > 0) c
    FULL JOIN (SELECT * FROM device_types WHERE expected_interval_ms IS NOT NULL) t ON t.name = c.name`;

const listSql = sql`SELECT * FROM (${typesSql}) types ORDER BY name COLLATE "C" LIMIT ${maxTypes}`;

const oneSql = sql`SELECT * FROM (${typesSql}) types WHERE name = $1`;

const lockSql = sql`LOCK TABLE device_types IN EXCLUSIVE MODE`;

const writeSql = sql`
  INSERT INTO device_types AS t (name, expected_interval_ms) VALUES ($1, $2::bigint)
  ON CONFLICT (name) DO UPDATE SET expected_interval_ms = excluded.expected_interval_ms, revision = t.revision + 1,
    is_spread = false, updated_at = now()`;

const unspreadSql = sql`SELECT name, revision FROM device_types WHERE NOT is_spread ORDER BY name`;

const pageSql = sql`
  SELECT id FROM devices WHERE device_type = $1 AND id > $2::uuid AND NOT is_deleted ORDER BY id LIMIT ${pageRows}`;

/** The records are locked too: what is said of one of them meanwhile is waited for. */
const followSql = sql`
  UPDATE device_state s SET expected_interval_ms = l.expected
    FROM (SELECT d.id, expected_interval_of(d) AS expected
            FROM devices d JOIN device_state s ON s.device_id = d.id
           WHERE d.id = ANY ($1::uuid[]) AND s.expected_interval_ms IS DISTINCT FROM expected_interval_of(d)
           ORDER BY d.id FOR SHARE OF d FOR UPDATE OF s) l
   WHERE s.device_id = l.id
  RETURNING l.id`;

/** What was taken away is forgotten once no device goes by it. */
const forgetSql = sql`DELETE FROM device_types WHERE name = $1 AND revision = $2 AND expected_interval_ms IS NULL`;

const spreadSql = sql`UPDATE device_types SET is_spread = true WHERE name = $1 AND revision = $2`;
