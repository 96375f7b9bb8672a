import { parseDeviceFilter } from "../device/filter/device-filter.ts";
import { compileFilterSql } from "../device/filter/filter-sql.ts";
import { invalidArgument } from "../errors.ts";
import type { Clock } from "../infra/clock.ts";
import { Parameters } from "../infra/database/parameters.ts";
import type { ReadSession } from "../infra/database/session.ts";
import { type Sql, sql } from "../infra/database/sql.ts";

/** What a {@link DeviceSelection} is made of. */
export interface DeviceSelectionParts {
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
  condition(filter: string, parameters: Parameters): Sql {
    const { clock, heartbeatIntervalMs } = this.#parts;
    const moment = { nowMs: clock.now().getTime(), heartbeatIntervalMs };
    return compileFilterSql(parseDeviceFilter(filter), parameters, moment);
  }

  /** The ids of the devices that match; INVALID_ARGUMENT if they are more than `max`. */
  async idsOf(session: ReadSession, filter: string, max: number): Promise<string[]> {
    const parameters = new Parameters();
    const rows = await session.query<{ id: string }>(
      sql`SELECT d.id FROM devices d LEFT JOIN device_state s ON s.device_id = d.id
          WHERE NOT d.is_deleted AND ${this.condition(filter, parameters)} LIMIT ${parameters.add(max + 1, "int")}`,
      parameters.values,
    );
    if (rows.length > max) throw invalidArgument("filter", `matches more than ${max} devices`);
    return rows.map(({ id }) => id);
  }
}
