import type pg from "pg";
import { parseDeviceFilter } from "../device/filter/device-filter.ts";
import { compileFilterSql } from "../device/filter/filter-sql.ts";
import { invalidArgument } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { Parameters } from "../infra/database/parameters.ts";

/** What a {@link DeviceSelection} is made of. */
export interface DeviceSelectionParts {
  readonly pool: pg.Pool;
  readonly clock: Clock;
  /** Decides which devices are online, for filters that ask. */
  readonly heartbeatIntervalMs: number;
}

/** Finds the devices that a filter names. */
export class DeviceSelection {
  readonly #parts: DeviceSelectionParts;

  constructor(parts: DeviceSelectionParts) {
    this.#parts = parts;
  }

  /** The filter as a condition over `devices d LEFT JOIN device_state s`. Throws INVALID_FILTER. */
  condition(
    filter: string,
    firstParameter: number,
  ): { readonly sql: string; readonly values: readonly unknown[] } {
    const { clock, heartbeatIntervalMs } = this.#parts;
    const parameters = new Parameters(firstParameter);
    const condition = compileFilterSql(parseDeviceFilter(filter), parameters, {
      nowMs: clock.now().getTime(),
      heartbeatIntervalMs,
    });
    return { sql: condition.text, values: parameters.values };
  }

  /** The ids of the devices that match; INVALID_ARGUMENT if they are more than `max`. */
  async idsOf(filter: string, max: number): Promise<string[]> {
    const { sql, values } = this.condition(filter, 2);
    const { rows } = await this.#parts.pool.query<{ id: string }>(
      `SELECT d.id FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
       WHERE NOT d.is_deleted AND ${sql} LIMIT $1`,
      [max + 1, ...values],
    );
    if (rows.length > max) throw invalidArgument("filter", `matches more than ${max} devices`);
    return rows.map(({ id }) => id);
  }
}
