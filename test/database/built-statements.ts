import { auditListFilter } from "../../src/access/audit-filter.ts";
import { AuditLog } from "../../src/access/audit-log.ts";
import { alertListFilter } from "../../src/alert/alert-filter.ts";
import { moveDatabase } from "../../src/backup/move-database.ts";
import { errorGroupListFilter } from "../../src/crash/error-group-filter.ts";
import { ErrorGroups } from "../../src/crash/error-groups.ts";
import { dropPartitionsBefore, ensurePartitions } from "../../src/crash/occurrence-partitions.ts";
import { parseDeviceFilter } from "../../src/device/filter/device-filter.ts";
import { deviceFilterFields } from "../../src/device/filter/filter-fields.ts";
import { SeenDevices } from "../../src/device/fleet/seen-devices.ts";
import { DeviceBatches } from "../../src/device/registry/device-batch.ts";
import { countDevices, listDevices } from "../../src/device/registry/device-list.ts";
import type { DeviceChanges } from "../../src/device/state/device-changes.ts";
import { type FieldKind, fieldComparators } from "../../src/filter/filter.ts";
import { firmwareListFilter } from "../../src/firmware/firmware-filter.ts";
import { HeartbeatHistory } from "../../src/heartbeat/heartbeat-history.ts";
import { systemClock } from "../../src/infra/clock.ts";
import type { Database } from "../../src/infra/database/database.ts";
import { Parameters } from "../../src/infra/database/parameters.ts";
import { grantService } from "../../src/infra/database/service-role.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { TimePartitions } from "../../src/infra/database/time-partitions.ts";
import { createLogger } from "../../src/infra/logger.ts";
import { deviceUpdateListFilter } from "../../src/rollout/model/device-update-filter.ts";
import { readDeviceUpdates } from "../../src/rollout/model/device-update-list.ts";
import { rolloutListFilter } from "../../src/rollout/model/rollout-filter.ts";
import { readRollouts } from "../../src/rollout/model/rollout-rows.ts";
import { OperatorScopes } from "../../src/rollout/operator-scopes.ts";
import { previewSql } from "../../src/rollout/preview/preview-sql.ts";
import type { CompiledRollout } from "../../src/rollout/rules/compiled-rollout.ts";
import { DeviceSelection } from "../../src/telemetry/device-selection.ts";
import { PositionSearch } from "../../src/telemetry/position-search.ts";
import { RollupJob } from "../../src/telemetry/rollup-job.ts";
import { SeriesReader } from "../../src/telemetry/series-reader.ts";
import { TrackReader } from "../../src/telemetry/track-reader.ts";
import { filterExpressions } from "../support/filter-expressions.ts";
import { createEmptyDatabase } from "../support/postgres.ts";
import { connect } from "./support.ts";

const id = "0199aaaa-0000-7000-8000-000000000000";
const time = new Date("2026-06-10T12:00:00Z");
const logger = createLogger({ level: "silent", pretty: false });

/**
 * Runs whatever puts statements together when it is asked, with everything that it can be asked, so that each piece of their
 * SQL is made. On a migrated database without rows.
 */
export async function buildEveryStatement(url: string): Promise<void> {
  await using database = await connect(url);
  await makeAndDropPartitions(database);
  await grantEverything();
  await moveAway(url);
  await database.pool.inTurn("partitions", () => Promise.resolve(), { statementTimeoutMs: 60_000 });
  await hear(database);
  await askForDevices(database);
  await askForErrors(database);
  await filterLists(database);
  await foresee(database);
  await readHeartbeats(database);
  await measure(database);
  await lieWithin(database);
}

/** Those of the ORM are statements of ours as well here. */
async function filterLists({ pool }: Database): Promise<void> {
  const ofTables = [
    [firmwareListFilter, sql`SELECT id FROM firmware_updates`],
    [auditListFilter, sql`SELECT id FROM audit_events`],
    [alertListFilter, sql`SELECT id FROM alerts`],
    [errorGroupListFilter, sql`SELECT g.id FROM error_groups g`],
  ] as const;
  for (const [filter, select] of ofTables) {
    for (const text of filterExpressions(filter)) {
      const parameters = new Parameters();
      const matching = filter.read(text)?.sql(parameters) ?? sql`true`;
      await pool.query(sql`${select} WHERE ${matching}`, parameters.values);
    }
  }
  await readRollouts(pool, {});
  for (const text of filterExpressions(rolloutListFilter))
    await readRollouts(pool, { matching: rolloutListFilter.read(text) });
  const page = { limit: 1 };
  await readDeviceUpdates(pool, { states: [] }, page);
  for (const text of filterExpressions(deviceUpdateListFilter))
    await readDeviceUpdates(pool, { states: [], matching: deviceUpdateListFilter.read(text) }, page);
}

async function lieWithin({ pool }: Database): Promise<void> {
  const scopes = new OperatorScopes({ session: pool, clock: systemClock, heartbeatIntervalMs: 60_000 });
  await scopes.devicesWithin({ products: ["app"], deviceFilter: "presence = ONLINE" }, []);
}

async function moveAway(url: string): Promise<void> {
  await using empty = await createEmptyDatabase();
  const to = { ownerUrl: empty.url, serviceUrl: empty.url };
  await moveDatabase({ ownerUrl: url, serviceUrl: url }, to, new AbortController().signal);
}

/** To nobody: a role belongs to a server, and not to a database. */
async function grantEverything(): Promise<void> {
  const tables = ["devices", "audit_events", "mikro_orm_migrations"].map((name) => ({ name, held: [] }));
  const answers: unknown[][] = [[{ name: "owner", schema: "public" }], tables];
  const query = <Row>() => Promise.resolve((answers.shift() ?? []) as Row[]);
  await grantService({ query, run: () => Promise.resolve(0) }, "somebody");
}

async function makeAndDropPartitions({ pool }: Database): Promise<void> {
  const parts = { pool, clock: systemClock, logger, table: "device_heartbeats", daysEach: 1 } as const;
  await using partitions = new TimePartitions({ ...parts, retentionDays: 1 });
  await partitions.ensure(time);
  await partitions.ensure(new Date("2020-01-01T00:00:00Z"));
  await partitions.maintain();
  await pool.transact(async (session) => {
    await ensurePartitions(session, new Set(["2020-01-01"]));
    await dropPartitionsBefore(session, time);
  });
}

async function hear(database: Database): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  database.listen("statements", { notified: () => undefined, listening: resolve });
  await promise;
}

async function askForDevices(database: Database): Promise<void> {
  const { pool } = database;
  const moment = { nowMs: time.getTime(), heartbeatIntervalMs: 30_000 };
  const filters = filterTexts().map((text) => parseDeviceFilter(text));
  for (const filter of filters) await countDevices(pool, filter, moment);
  const seen = new SeenDevices(pool);
  await seen.present(moment, id, 1);
  await seen.fellSilent(moment, moment, 1);
  const query = {
    deviceTypes: ["lamp"],
    hardwareModels: ["l1"],
    groups: ["a"],
    firmwareVersions: ["1.0.0"],
    serialNumberPrefix: "s",
    showRetired: false,
    filter: parseDeviceFilter("groups:a"),
  };
  const orders = {
    create_time: "",
    serial_number: " s",
    last_seen_time: ` ${time.toISOString()}`,
    battery_percent: " 5",
  };
  const first = { limit: 2, after: undefined };
  const byTime = { by: "create_time", descending: true } as const;
  await listDevices(pool, { ...query, showRetired: true, order: byTime }, first, moment);
  for (const [by, place] of Object.entries(orders)) {
    for (const descending of [true, false]) {
      const order = { by: by as keyof typeof orders, descending };
      for (const after of [undefined, id, `${id}${place}`]) {
        await listDevices(pool, { ...query, order }, { limit: 1, after }, moment);
      }
    }
  }
  const unchanged = () => Promise.resolve(false);
  const batches = new DeviceBatches({
    database,
    audit: new AuditLog({ database }),
    changes: { publishUpdates: () => undefined } as unknown as DeviceChanges,
    registry: {
      retire: () => Promise.reject(new Error("nothing is retired")),
      update: () => Promise.reject(new Error("nothing is corrected")),
    },
    standings: { block: unchanged, unblock: unchanged, quarantine: unchanged, approve: unchanged },
    tokenRotation: { request: unchanged },
    maxStandings: 10,
    clock: systemClock,
    heartbeatIntervalMs: moment.heartbeatIntervalMs,
  });
  await database.adminPool.query(
    "INSERT INTO devices (id, serial_number, device_type, hardware_model) VALUES ($1, 's', 'lamp', 'l1')",
    [id],
  );
  const batch = {
    actor: "a",
    deviceIds: [id],
    filter: "",
    expectedCount: undefined,
    addGroups: ["a"],
    removeGroups: ["b"],
    addTags: [],
    removeTags: [],
    updatePin: "canary",
    product: undefined,
    retire: false,
    standingVerb: undefined,
    rotateToken: false,
    reason: "",
    validateOnly: true,
  } as const;
  const { signal } = new AbortController();
  await batches.apply(batch, signal);
  await batches.apply({ ...batch, updatePin: undefined, validateOnly: false }, signal);
  const corrected = { ...batch, addGroups: [], removeGroups: [], updatePin: undefined, product: "" };
  await batches.apply({ ...corrected, validateOnly: false }, signal);
  for (const standingVerb of ["block", "unblock", "quarantine", "approve"] as const) {
    const verb = { ...corrected, product: undefined, standingVerb };
    await batches.apply({ ...verb, validateOnly: false }, signal);
  }
  await batches.apply({ ...corrected, product: undefined, rotateToken: true, validateOnly: false }, signal);
  await batches.apply(
    { ...batch, addGroups: [], removeGroups: [], updatePin: undefined, retire: true },
    signal,
  );
}

/** Each comparator of each field with each of its values, a star at each place of a text, and all ways to combine. */
function filterTexts(): string[] {
  const tests = deviceFilterFields.flatMap(({ name, kind, values: choices }) => {
    const field = kind.endsWith("_map") ? `${name}.key` : name;
    const examples = { ...values, choice: choices ?? [] }[kind];
    return fieldComparators[kind].flatMap((comparator) => [
      ...examples.map((value) => `${field} ${comparator} ${value}`),
      ...(comparator === ":" ? [`${field}:*`, `${name}:*`] : []),
    ]);
  });
  return ["", "lamp", "(groups:a OR groups:b) AND NOT groups:c", ...tests.filter(isReadable)];
}

/** Some comparators do not take each value: a text is asked with a colon for a part of it, without stars. */
function isReadable(filter: string): boolean {
  try {
    return parseDeviceFilter(filter).kind !== "all";
  } catch {
    return false;
  }
}

const texts = ["a", '"a*"', '"*a"', '"*a*"'];

const values: Readonly<Record<Exclude<FieldKind, "choice">, readonly string[]>> = {
  id: [id],
  text: texts,
  list: texts,
  text_map: texts,
  version_map: ["1.0.0"],
  time: ['"2026-01-01T00:00:00Z"', "ago(7d)"],
  number: ["5"],
  flag: ["true"],
  version: ["1.0.0", "1.*"],
};

async function askForErrors(database: Database): Promise<void> {
  const groups = new ErrorGroups({ database, audit: new AuditLog({ database }), clock: systemClock });
  const all = {
    states: ["open"],
    fatalOnly: true,
    firmwareVersion: "1.0.0",
    deviceType: "lamp",
    seenSince: time,
    firstSeenSince: time,
    text: "x",
  } as const;
  for (const [order, key] of Object.entries(keys)) {
    await groups.list({}, order as keyof typeof keys, { limit: 1, after: undefined });
    await groups.list(all, order as keyof typeof keys, { limit: 1, after: [key, id] });
  }
  const after = `${time.toISOString()} ${id}`;
  await groups.occurrences({ groupId: id, deviceId: id, from: time, to: time }, { limit: 1, after });
}

const keys = {
  last_seen_time: time.toISOString(),
  first_seen_time: time.toISOString(),
  occurrence_count: "1",
  device_count: "1",
} as const;

/** A rollout with each condition that there is, and one with none. */
async function foresee({ pool }: Database): Promise<void> {
  const filter = sql`true`;
  const names = new Set(["a", "b"]);
  const asked = { minBatteryPercent: 20, minFreeStorageBytes: 1, sizeBytes: 1 };
  const bare = {
    id,
    component: "",
    deviceTypes: new Set(["lamp"]),
    windows: { always: true },
    firmware: asked,
    steps: [],
    rollout: { policy: { storageFactor: 1, maxMeteredBytes: null, returnMs: null } },
  } as unknown as CompiledRollout;
  const full = {
    ...bare,
    component: "app",
    deviceTypes: names,
    hardwareModels: names,
    groups: names,
    excludedGroups: names,
    tags: names,
    canaryGroups: names,
    windows: { always: false },
    rollout: { policy: { storageFactor: 1, maxMeteredBytes: 1, returnMs: 1 } },
  } as unknown as CompiledRollout;
  for (const [rollout, part, known] of [
    [bare, null, false],
    [full, id, true],
  ] as const) {
    const parameters = new Parameters();
    const scope = {
      filter,
      slice: { after: part, upTo: part },
      updates: { tried: known, open: known },
      moment: { nowMs: 0, heartbeatIntervalMs: 60_000 },
    };
    const statement = previewSql(rollout, scope, parameters);
    await pool.cancellable(statement, parameters.values, new AbortController().signal);
  }
}

async function readHeartbeats({ pool }: Database): Promise<void> {
  const history = new HeartbeatHistory(pool, systemClock);
  const after = `${time.toISOString()} 1`;
  await history.list({ deviceId: id, from: time, to: time }, { limit: 1, after });
  await history.list({ deviceId: id, fields: ["network"] }, { limit: 1, after: undefined });
  for await (const _part of history.scan({ deviceId: id, to: time }));
}

async function measure({ pool, heavyReads: reads }: Database): Promise<void> {
  const devices = new DeviceSelection({ clock: systemClock, heartbeatIntervalMs: 30_000 });
  const positions = new PositionSearch(reads, devices);
  const reader = { signal: new AbortController().signal };
  const world = { south: -1, west: -1, north: 1, east: 1 };
  await positions.search({ box: world, filter: "groups:a", maxDevices: -1 }, reader);
  await positions.search({ box: { ...world, west: 170, east: -170 }, filter: "", maxDevices: -1 }, reader);
  const isKept = { firstKept: () => undefined, rowsFrom: () => undefined };
  const series = new SeriesReader({
    reads,
    clock: systemClock,
    devices,
    rollups: { progress: () => Promise.resolve({ "5m": time, "1h": time }) },
    kept: { heartbeats: isKept, "5m": isKept, "1h": isKept },
  });
  const track = new TrackReader({ reads, heartbeats: isKept });
  for (const basis of ["receive", "device"] as const)
    await track.read({ deviceId: id, from: time, to: time, maxPoints: 1, basis }, reader);
  const metrics = ["battery_percent", "metrics.load"];
  for (const hours of [1, 24, 24 * 365]) {
    const from = new Date(time.getTime() - hours * 3_600_000);
    const to = new Date(time.getTime() + 3_600_000);
    const ask = { devices: { filter: "groups:a" }, metrics, from, to };
    for (const timeZone of ["", "Europe/Berlin"])
      await series.read({ ...ask, maxPoints: 100, basis: "receive", timeZone }, reader);
    await series.read({ ...ask, maxPoints: 1, basis: "device", timeZone: "Europe/Berlin" }, reader);
  }
  const partitions = { ensure: () => Promise.resolve() };
  await using rollups = new RollupJob({
    pool,
    raw: {
      firstKept: () => undefined,
      summarize: () => Promise.resolve(),
      days: () => Promise.resolve([time]),
    },
    partitions: { "5m": partitions, "1h": partitions },
    clock: { ...systemClock, now: () => time, monotonicMs: () => 0 },
    logger,
  });
  await rollups.run();
}
