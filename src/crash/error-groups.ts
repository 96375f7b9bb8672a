import type { AuditLog } from "../access/audit-log.ts";
import type { ListPosition } from "../call/list-page.ts";
import type { Keyset } from "../call/page-token.ts";
import { illegalTransition, invalidArgument, notFound } from "../errors.ts";
import type { ListCondition } from "../filter/list-filter.ts";
import type { Clock } from "../infra/clock.ts";
import type { Database } from "../infra/database/database.ts";
import { Parameters } from "../infra/database/parameters.ts";
import type { Pool } from "../infra/database/pool.ts";
import { allOf, type Sql, sql } from "../infra/database/sql.ts";
import { isSemanticVersion } from "../version/semantic-version.ts";
import type {
  AffectedDevice,
  ErrorDayCount,
  ErrorGroup,
  ErrorGroupState,
  ErrorOccurrence,
  GroupOrder,
} from "./error-group.ts";
import {
  type GroupDeviceRecord,
  type GroupRecord,
  groupOf,
  groupOrders,
  groupsSql,
  type OccurrenceRecord,
  occurrenceOf,
  occurrencesSql,
} from "./error-group-rows.ts";

/** Which groups to list; conditions are combined with AND, an empty or absent one allows all. */
export interface GroupFilter {
  readonly states?: readonly ErrorGroupState[] | undefined;
  readonly fatalOnly?: boolean | undefined;
  readonly firmwareVersion?: string | undefined;
  readonly deviceType?: string | undefined;
  readonly seenSince?: Date | undefined;
  readonly firstSeenSince?: Date | undefined;
  /** Part of the title or the code, in any case. */
  readonly text?: string | undefined;
  /** What an expression says beside. */
  readonly matching?: ListCondition | undefined;
}

/** Which occurrences to list. */
export interface OccurrenceFilter {
  readonly groupId?: string | undefined;
  readonly deviceId?: string | undefined;
  /** Received at this time or later. */
  readonly from?: Date | undefined;
  /** Received before this time. */
  readonly to?: Date | undefined;
}

/** What an operator makes of a group. */
export interface GroupVerdict {
  readonly actor: string;
  readonly id: string;
  readonly state: ErrorGroupState;
  /** For `resolved`; empty: the highest version on which it was seen. */
  readonly resolvedVersion: string;
  readonly reason: string;
}

/** What {@link ErrorGroups} is made of. */
export interface ErrorGroupsParts {
  readonly database: Pick<Database, "transact" | "pool">;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** The errors and crashes of the fleet, by cause. */
export class ErrorGroups {
  readonly #parts: ErrorGroupsParts;
  readonly #pool: Pool;

  constructor(parts: ErrorGroupsParts) {
    this.#parts = parts;
    this.#pool = parts.database.pool;
  }

  /** Returns one group. Throws `NOT_FOUND`. */
  async get(id: string): Promise<ErrorGroup> {
    const [row] = await this.#pool.query<GroupRecord>(groupSql, [id]);
    if (row === undefined) throw notFound("error group", id);
    return groupOf(row);
  }

  /** The groups that were merged into one, the latest seen first; at most `limit`. */
  async mergedInto(id: string, limit: number): Promise<ErrorGroup[]> {
    return (await this.#pool.query<GroupRecord>(mergedSql, [id, limit])).map(groupOf);
  }

  /** Lists groups in an order, the greatest first, each with its place in the list. */
  async list(
    filter: GroupFilter,
    order: GroupOrder,
    { limit, after }: ListPosition<Keyset>,
  ): Promise<{ readonly group: ErrorGroup; readonly key: readonly string[] }[]> {
    const parameters = new Parameters();
    const conditions: Sql[] = [sql`g.merged_into IS NULL`];
    if (filter.states !== undefined && filter.states.length > 0) {
      conditions.push(sql`g.state = ANY(${parameters.add(filter.states, "text[]")})`);
    }
    if (filter.fatalOnly === true) conditions.push(sql`g.fatal`);
    if (filter.firmwareVersion) {
      conditions.push(seenWith(isVersion(parameters.add(filter.firmwareVersion, "text"))));
    }
    if (filter.deviceType) {
      conditions.push(seenWith(sql`c.device_type = ${parameters.add(filter.deviceType, "text")}`));
    }
    if (filter.seenSince !== undefined) {
      conditions.push(
        sql`g.last_seen_at >= ${parameters.add(filter.seenSince.toISOString(), "timestamptz")}`,
      );
    }
    if (filter.firstSeenSince !== undefined) {
      const since = parameters.add(filter.firstSeenSince.toISOString(), "timestamptz");
      conditions.push(sql`g.first_seen_at >= ${since}`);
    }
    if (filter.text) {
      const text = parameters.add(filter.text.toLowerCase(), "text");
      conditions.push(sql`(strpos(lower(g.title), ${text}) > 0 OR strpos(lower(g.code), ${text}) > 0)`);
    }
    if (filter.matching !== undefined) conditions.push(filter.matching.sql(parameters));
    const { column, type } = groupOrders[order];
    if (after !== undefined) {
      const value = parameters.add(after[0], type);
      conditions.push(sql`(${column}, g.id) < (${value}, ${parameters.add(after[1], "uuid")})`);
    }
    const rows = await this.#pool.query<GroupRecord>(
      sql`${groupsSql(order)} WHERE ${allOf(conditions)}
          ORDER BY ${column} DESC, g.id DESC LIMIT ${parameters.add(limit, "int")}`,
      parameters.values,
    );
    return rows.map((row) => ({ group: groupOf(row), key: [row.order_key, row.id] }));
  }

  /**
   * The groups that a firmware version brought: first seen on it, since a time, the worst first (crashes before errors, then
   * by devices). At most `limit`. For a rollout that shows what its version broke.
   */
  async newGroupsOf(version: string, since: Date, limit: number): Promise<ErrorGroup[]> {
    const rows = await this.#pool.query<GroupRecord>(newGroupsSql, [since.toISOString(), version, limit]);
    return rows.map(groupOf);
  }

  /**
   * Resolves, ignores or reopens a group. Throws `NOT_FOUND`, and `INVALID_VERSION` for a resolved version that is no semantic
   * version. Says so in the audit log; saying the same again changes nothing.
   */
  async decide({ actor, id, state, resolvedVersion, reason }: GroupVerdict): Promise<ErrorGroup> {
    if (resolvedVersion !== "" && !isSemanticVersion(resolvedVersion)) {
      throw invalidArgument(
        "resolved_version",
        "must be a semantic version such as 1.4.0",
        "INVALID_VERSION",
      );
    }
    const { database, audit } = this.#parts;
    await database.transact(async (em, session) => {
      const [row] = await session.query<VerdictRow>(lockSql, [id]);
      if (row === undefined) throw notFound("error group", id);
      if (row.merged_into !== null) throw illegalTransition("error group", verbs[state], "MERGED", ["split"]);
      const version = state === "resolved" ? resolvedVersion || row.last_seen_version : "";
      if (row.state === state && row.resolved_version === version) return;
      await session.run(decideSql, [id, state, version, reason === "" ? actor : `${actor}: ${reason}`]);
      await audit.record(em, {
        actor,
        action: `error_group.${verbs[state]}`,
        resourceType: "error_group",
        resourceId: id,
        reason,
        details: { from_state: row.state, ...(version === "" ? {} : { resolved_version: version }) },
      });
    });
    return await this.get(id);
  }

  /** A group's counts of the last days, today included, oldest day first. Throws `NOT_FOUND`. */
  async timeline(id: string, days: number): Promise<ErrorDayCount[]> {
    await this.get(id);
    const first = new Date(this.#parts.clock.now().getTime() - (days - 1) * dayMs);
    const rows = await this.#pool.query<DayRow>(timelineSql, [
      id,
      first.toISOString().slice(0, 10),
      maxTimelineRows,
    ]);
    return rows
      .map((row) => ({
        day: row.day,
        firmwareVersion: row.firmware_version,
        deviceType: row.device_type,
        occurrenceCount: Number(row.occurrence_count),
      }))
      .toSorted((a, b) => (a.day < b.day ? -1 : a.day > b.day ? 1 : 0));
  }

  /** Lists occurrences, newest received first. `after` is {@link occurrenceKey} of the last one of the page before. */
  async occurrences(
    filter: OccurrenceFilter,
    { limit, after }: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<ErrorOccurrence[]> {
    const parameters = new Parameters();
    const conditions: Sql[] = [];
    if (filter.groupId) conditions.push(ofGroup(parameters.add(filter.groupId, "uuid")));
    if (filter.deviceId) conditions.push(sql`o.device_id = ${parameters.add(filter.deviceId, "uuid")}`);
    if (filter.from !== undefined) {
      conditions.push(sql`o.received_at >= ${parameters.add(filter.from.toISOString(), "timestamptz")}`);
    }
    if (filter.to !== undefined) {
      conditions.push(sql`o.received_at < ${parameters.add(filter.to.toISOString(), "timestamptz")}`);
    }
    if (after !== undefined) {
      const [receivedAt, id] = after.split(" ");
      const time = parameters.add(receivedAt, "timestamptz");
      conditions.push(
        sql`o.received_at <= ${time}`,
        sql`(o.received_at, o.id) < (${time}, ${parameters.add(id, "uuid")})`,
      );
    }
    const rows = await this.#pool.query<OccurrenceRecord>(
      occurrencesSql(allOf(conditions), parameters.add(limit, "int")),
      parameters.values,
    );
    return rows.map(occurrenceOf);
  }

  /** Lists the devices on which a group was seen, the latest first. `after` as {@link affectedKey}. Throws `NOT_FOUND`. */
  async devices(
    groupId: string,
    { limit, after }: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<AffectedDevice[]> {
    await this.get(groupId);
    const [lastSeen, deviceId] = after?.split(" ") ?? [];
    const rows = await this.#pool.query<GroupDeviceRecord>(affectedSql, [
      groupId,
      limit,
      lastSeen ?? null,
      deviceId ?? null,
    ]);
    return rows.map((row) => ({
      deviceId: row.device_id,
      serialNumber: row.serial_number,
      occurrenceCount: Number(row.occurrence_count),
      firstSeenAt: row.first_seen_at,
      lastSeenAt: row.last_seen_at,
      lastSeenVersion: row.last_seen_version,
    }));
  }
}

/** Where an occurrence stands in its list. */
export function occurrenceKey({ receivedAt, id }: ErrorOccurrence): string {
  return `${receivedAt.toISOString()} ${id}`;
}

/** Where a device stands in its list. */
export function affectedKey({ lastSeenAt, deviceId }: AffectedDevice): string {
  return `${lastSeenAt.toISOString()} ${deviceId}`;
}

const verbs = { open: "reopen", resolved: "resolve", ignored: "ignore" } as const;

/** Days times versions times device types: beyond it the oldest days are left out. */
const maxTimelineRows = 10_000;

const dayMs = 24 * 3_600_000;

interface VerdictRow {
  readonly state: ErrorGroupState;
  readonly resolved_version: string;
  readonly last_seen_version: string;
  readonly merged_into: string | null;
}

interface DayRow {
  readonly day: string;
  readonly firmware_version: string;
  readonly device_type: string;
  readonly occurrence_count: string;
}

const groupSql = sql`${groupsSql("last_seen_time")} WHERE g.id = $1`;

const mergedSql = sql`
  ${groupsSql("last_seen_time")} WHERE g.merged_into = $1 ORDER BY g.last_seen_at DESC, g.id LIMIT $2`;

const newGroupsSql = sql`
  ${groupsSql("last_seen_time")} WHERE g.merged_into IS NULL AND g.first_seen_at >= $1 AND version_identity(g.first_seen_version) = version_identity($2)
  ORDER BY g.fatal DESC, g.device_count DESC, g.id LIMIT $3`;

const lockSql = sql`
  SELECT state, resolved_version, last_seen_version, merged_into FROM error_groups WHERE id = $1 FOR UPDATE`;

const decideSql = sql`
  UPDATE error_groups SET state = $2, resolved_version = $3, state_reason = $4, updated_at = now() WHERE id = $1`;

const timelineSql = sql`
  SELECT day::text AS day, version_name(firmware_version) AS firmware_version, device_type,
    sum(occurrence_count) AS occurrence_count
  FROM error_counts c WHERE group_id = $1 AND day >= $2::date GROUP BY c.day, 2, device_type
  ORDER BY c.day DESC, 4 DESC, 2, device_type LIMIT $3`;

const affectedSql = sql`
  SELECT a.device_id, coalesce(d.serial_number, '') AS serial_number, a.occurrence_count, a.first_seen_at,
    a.last_seen_at, a.last_seen_version
  FROM error_group_devices a LEFT JOIN devices d ON d.id = a.device_id
  WHERE a.group_id = $1
    AND ($3::timestamptz IS NULL OR (a.last_seen_at, a.device_id) < ($3::timestamptz, $4::uuid))
  ORDER BY a.last_seen_at DESC, a.device_id DESC LIMIT $2`;

/** Whether an occurrence `o` is of a group, or of one that was merged into it. */
function ofGroup(id: Sql): Sql {
  return sql`o.group_id = ANY (ARRAY(SELECT id FROM error_groups WHERE id = ${id} OR merged_into = ${id}))`;
}

function seenWith(condition: Sql): Sql {
  return sql`EXISTS (SELECT 1 FROM error_counts c WHERE c.group_id = g.id AND ${condition})`;
}

/**
 * Whether the counts `c` are of a version. Its texts are gathered first, once a statement, by one probe of the index each, so
 * that the same index then finds their counts.
 */
function isVersion(version: Sql): Sql {
  return sql`c.firmware_version = ANY (ARRAY(
    WITH RECURSIVE seen AS (
      SELECT min(firmware_version) AS text FROM error_counts
      UNION ALL
      SELECT (SELECT min(firmware_version) FROM error_counts WHERE firmware_version > seen.text) FROM seen
        WHERE seen.text IS NOT NULL
    )
    SELECT text FROM seen WHERE version_identity(text) = version_identity(${version})))`;
}
