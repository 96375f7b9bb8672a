import type { Scope } from "../call/scope.ts";
import { devicesOf } from "../call/scope.ts";
import { type DeviceFilter, parseDeviceFilter } from "../device/filter/device-filter.ts";
import { compileFilterSql } from "../device/filter/filter-sql.ts";
import type { Clock } from "../infra/clock.ts";
import { Parameters } from "../infra/database/parameters.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";

/** What {@link OperatorScopes} are made of. */
export interface OperatorScopesParts {
  readonly session: ReadSession;
  readonly clock: Clock;
  /** Decides which devices are online, for filters that ask. */
  readonly heartbeatIntervalMs: number;
}

/** Says which devices, firmware and rollouts lie within the limits of an operator's token. */
export class OperatorScopes {
  readonly #parts: OperatorScopesParts;

  constructor(parts: OperatorScopesParts) {
    this.#parts = parts;
  }

  /** Of these devices, retired ones too, those that match the filter and are known to run one of the products. */
  async devicesWithin(scope: Scope, ids: readonly string[]): Promise<ReadonlySet<string>> {
    const { session, clock, heartbeatIntervalMs } = this.#parts;
    const parameters = new Parameters();
    const moment = { nowMs: clock.now().getTime(), heartbeatIntervalMs };
    const matches = compileFilterSql(parseDeviceFilter(devicesOf(scope)), parameters, moment);
    const rows = await session.query<{ id: string }>(
      sql`SELECT d.id FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
           WHERE d.id = ANY(${parameters.add(ids, "uuid[]")}) AND ${matches}`,
      parameters.values,
    );
    return idsOf(rows);
  }

  /** Of these firmware, those of the products, whatever devices they are for. */
  async firmwareWithin({ products }: Scope, ids: readonly string[]): Promise<ReadonlySet<string>> {
    if (products.length === 0) return new Set(ids);
    return idsOf(await this.#parts.session.query<{ id: string }>(firmwareSql, [ids, products]));
  }

  /** Of these rollouts, those of the products whose targeting has the scope's filter among its conditions. */
  async rolloutsWithin(
    { products, deviceFilter }: Scope,
    ids: readonly string[],
  ): Promise<ReadonlySet<string>> {
    const rows = await this.#parts.session.query<RolloutRow>(rolloutsSql, [ids]);
    const limit = parseDeviceFilter(deviceFilter);
    return idsOf(
      rows.filter(
        ({ product, filter }) =>
          (products.length === 0 || products.includes(product)) && implies(parseDeviceFilter(filter), limit),
      ),
    );
  }
}

/**
 * Whether a filter has another one's conditions among those that it joins by AND: then it finds no device that the other one would
 * not. It may do so without, but then nobody could tell in general.
 */
export function implies(filter: DeviceFilter, limit: DeviceFilter): boolean {
  const held = new Set(conditions(filter));
  return conditions(limit).every((condition) => held.has(condition));
}

/** What a filter joins by AND, as texts that are the same for the same condition. */
function conditions(filter: DeviceFilter): string[] {
  if (filter.kind === "all") return [];
  return filter.kind === "and" ? filter.operands.flatMap(conditions) : [JSON.stringify(filter)];
}

interface RolloutRow {
  readonly id: string;
  readonly product: string;
  readonly filter: string;
}

const firmwareSql = sql`SELECT id FROM firmware_updates WHERE id = ANY($1::uuid[]) AND product = ANY($2::text[])`;

const rolloutsSql = sql`
  SELECT r.id, f.product, coalesce(r.targeting->>'filter', '') AS filter
    FROM rollouts r JOIN firmware_updates f ON f.id = r.firmware_id WHERE r.id = ANY($1::uuid[])`;

function idsOf(rows: readonly { readonly id: string }[]): ReadonlySet<string> {
  return new Set(rows.map(({ id }) => id));
}
