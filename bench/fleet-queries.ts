import { DeviceService } from "../gen/ota/v1/device_service_pb.js";
import { TelemetryService } from "../gen/ota/v1/telemetry_service_pb.js";
import type { BenchOptions } from "./harness/options.ts";
import type { BenchResult } from "./harness/result.ts";
import { median, timed } from "./harness/timing.ts";
import type { RunningFleet } from "./load/running-fleet.ts";

/** Calls of what takes milliseconds; the median counts. */
const quickCalls = 31;

/** Calls of what looks at the whole fleet. */
const wholeCalls = 5;

/** Cells of the map each way, as the service makes them. */
const gridCells = 32;

/** Where {@link positionsSql} puts the fleet: some of Europe, in degrees. */
const area = { south: 42, west: -5, north: 58, east: 25 };

/** A town in it, with some two hundred of a million devices. */
const town = { south: 50, west: 10, north: 50.32, east: 10.3 };

/** What an operator asks of a large fleet, by gRPC beside the plain SQL that answers it. */
export async function fleetQueries({ fleet }: BenchOptions): Promise<BenchResult[]> {
  const running = await fleet.open();
  const { admin, database, devices } = running;
  await database.query(positionsSql, [area.west, area.east - area.west, area.south, area.north - area.south]);
  await database.query("VACUUM (ANALYZE) device_positions");
  const { method } = DeviceService;
  const sql = (text: string, values: unknown[] = []) => database.query(text, values);
  const common = '(battery_percent < 30 AND hardware_model = "model-1")';
  const commonSql = "s.battery_percent < 30 AND d.hardware_model = 'model-1'";
  const rare = 'groups:"group-7" AND battery_percent < 30';
  const rareSql = "d.groups @> '{group-7}' AND s.battery_percent < 30";
  const wholeDay = { timeoutMs: 60_000 };
  const questions: Question[] = [
    {
      bench: "fleet-overview",
      calls: quickCalls,
      target: "milliseconds",
      what: "the whole overview, against counting versions and presence alone",
      ask: async () => {
        const { totalCount } = await admin.unary(method.getDeviceStatusOverview, {});
        if (Number(totalCount) !== devices) throw new Error(`expected ${devices} devices, got ${totalCount}`);
      },
      floor: () => sql(countedSql),
      floorCalls: wholeCalls,
    },
    {
      bench: "device-page",
      calls: quickCalls,
      target: "milliseconds",
      what: `the 50 newest devices with ${common}`,
      ask: () => admin.unary(method.listDevices, { filter: common, pageSize: 50 }),
      floor: () => sql(pageSql(commonSql, "d.id DESC")),
    },
    {
      bench: "device-page-by-battery",
      calls: wholeCalls,
      target: "<= 1.5",
      what: "the 50 devices with the emptiest batteries of all",
      ask: () => admin.unary(method.listDevices, { orderBy: "battery_percent", pageSize: 50 }, wholeDay),
      floor: () => sql(pageSql("true", "s.battery_percent NULLS LAST, d.id")),
    },
    {
      bench: "device-count",
      calls: wholeCalls,
      target: "<= 1.5",
      what: `how many devices have ${common}`,
      ask: () => admin.unary(method.countDevices, { filter: common }, wholeDay),
      floor: () => sql(countSql(commonSql)),
    },
    {
      bench: "device-count-in-group",
      calls: wholeCalls,
      target: "<= 1.5",
      what: `how many devices have ${rare}`,
      ask: () => admin.unary(method.countDevices, { filter: rare }, wholeDay),
      floor: () => sql(countSql(rareSql)),
    },
    {
      bench: "map-of-all",
      calls: wholeCalls,
      target: "<= 1.5",
      what: "positions of the whole fleet in clusters, against the GROUP BY of the same grid",
      ask: async () => {
        const { totalCount } = await admin.unary(TelemetryService.method.searchPositions, area, wholeDay);
        if (Number(totalCount) !== devices) throw new Error(`expected ${devices} places, got ${totalCount}`);
      },
      floor: () =>
        sql(gridSql, [
          area.west,
          area.south,
          (area.east - area.west) / gridCells,
          (area.north - area.south) / gridCells,
        ]),
    },
    {
      bench: "map-of-a-town",
      calls: quickCalls,
      target: "milliseconds",
      what: "each device of a small box",
      ask: () => admin.unary(TelemetryService.method.searchPositions, { ...town, maxDevices: 1_000 }),
      floor: () => sql(boxSql, [`(${town.west},${town.south}),(${town.east},${town.north})`]),
    },
  ];
  const results: BenchResult[] = [];
  for (const question of questions) results.push(await answered(question, running));
  return results;
}

interface Question {
  readonly bench: string;
  readonly calls: number;
  readonly target: string;
  readonly what: string;
  readonly ask: () => Promise<unknown>;
  readonly floor: () => Promise<unknown>;
  /** As many as `calls` unless given. */
  readonly floorCalls?: number;
}

/** In turn, so that a drift of the machine's speed meets both alike; once each unmeasured. */
async function answered(question: Question, { devices }: RunningFleet): Promise<BenchResult> {
  const { bench, ask, floor, calls, floorCalls = calls, target, what } = question;
  const values: number[] = [];
  const floors: number[] = [];
  await ask();
  await floor();
  for (let round = 0; round < Math.max(calls, floorCalls); round++) {
    if (round < calls) values.push(await timed(ask));
    if (round < floorCalls) floors.push(await timed(floor));
  }
  return {
    bench,
    value: median(values),
    unit: "ms",
    floor: median(floors),
    target,
    note: `${what}; ${devices} devices, median of ${calls}, by gRPC against the SQL alone`,
  };
}

const positionsSql = `
  INSERT INTO device_positions (device_id, received_at, position, accuracy_meters)
  SELECT id, now(), point($1::float8 + random() * $2::float8, $3::float8 + random() * $4::float8), 5 FROM devices
  ON CONFLICT DO NOTHING`;

const joined = "devices d LEFT JOIN device_state s ON s.device_id = d.id";

const countedSql = `
  SELECT firmware_version, last_seen_at > now() - interval '90 seconds' AS online, count(*) FROM device_state
  WHERE in_service GROUP BY 1, 2`;

function countSql(where: string): string {
  return `SELECT count(*) FROM ${joined} WHERE NOT d.is_deleted AND ${where}`;
}

function pageSql(where: string, order: string): string {
  return `SELECT d.*, s.* FROM ${joined} WHERE NOT d.is_deleted AND ${where} ORDER BY ${order} LIMIT 51`;
}

const gridSql = `
  SELECT floor((position[1] - $2) / $4), floor((position[0] - $1) / $3), count(*), avg(position[0]), avg(position[1])
  FROM device_positions GROUP BY 1, 2`;

const boxSql = "SELECT * FROM device_positions WHERE position <@ $1::box";
