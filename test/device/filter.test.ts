import fc from "fast-check";
import semver from "semver";
import { describe, expect, it } from "vitest";
import { type DeviceFilter, parseDeviceFilter } from "../../src/device/filter/device-filter.ts";
import { compileFilterPredicate } from "../../src/device/filter/filter-predicate.ts";
import { compileFilterSql } from "../../src/device/filter/filter-sql.ts";
import { readModelNames } from "../../src/device/filter/model-names.ts";
import type { FilterableDevice } from "../../src/device/state/filterable-device.ts";
import { Parameters } from "../../src/infra/database/parameters.ts";
import { sql } from "../../src/infra/database/sql.ts";
import { versionKey } from "../../src/version/version-key.ts";
import {
  type DeviceReplica,
  enrolmentKey,
  enrolmentOf,
  heartbeatOf,
  startDevices,
} from "./device-fixture.ts";

const heartbeatIntervalMs = 60_000;

/** Few values of each kind, so that filters hit: what is compared comes from the same few. */
const texts = ["", "a", "B", "ab", "Straße", "x*y", "%", "_", "\\", "O'Neil", "tx-200"];
const names = ["berlin", "beta", "lab", "x.y"];
const versions = ["1.0.0", "1.2.0-rc.1", "1.2.0-rc.10", "1.2.0", "1.10.0", "2.0.0+build.5", "not a version"];
const moments = [
  -30 * 86_400_000,
  -3_600_000,
  -240_000,
  -239_999,
  -90_000,
  -89_999,
  0,
  60_999,
  61_000,
  3_600_000,
];

const quoted = (text: string) => `"${text.replaceAll(/[\\"*]/g, "\\$&")}"`;

const text = fc.constantFrom(...texts);
const version = fc.constantFrom(...versions);
const comparison = fc.constantFrom("=", "!=", "<", "<=", ">", ">=");

const reading = fc.record(
  {
    batteryPercent: fc.constantFrom(0, 0.1, 19.9, 20, 100),
    charging: fc.boolean(),
    cpuPercent: fc.constantFrom(0, 0.1, 55.5),
    temperatureCelsius: fc.constantFrom(-12.5, 0, 0.1),
    storageFreeBytes: fc.constantFrom(0, 1_000, 5_000_000_000),
    networkType: fc.constantFrom("ETHERNET", "WIFI", "SATELLITE"),
    carrier: text,
    signalDbm: fc.constantFrom(-120, -67, 0),
    components: fc.dictionary(fc.constantFrom("app", "maps"), version),
  },
  { requiredKeys: [] },
);

const device = fc.record({
  serialNumber: fc.constantFrom("SN-1", "sn-1a", "A*", "B_2"),
  deviceType: fc.constantFrom("thermostat", "camera"),
  product: fc.constantFrom("", "a", "ab"),
  hardwareModel: fc.constantFrom("a", "B", "ab", "tx-200"),
  displayName: text,
  groups: fc.uniqueArray(fc.constantFrom(...names)),
  tags: fc.uniqueArray(fc.constantFrom(...names)),
  metadata: fc.dictionary(fc.constantFrom("site", "my key", "a.b"), text),
  updatePin: fc.constantFrom("none", "canary", "excluded"),
  quarantined: fc.boolean(),
  blocked: fc.boolean(),
  cloneSuspectedAgoMs: fc.constantFrom(null, null, ...moments),
  enrolledVersion: version,
  expectedIntervalMs: fc.constantFrom(null, null, 1_500, 60_000, 3_600_000, 30 * 86_400_000),
  heard: fc.option(
    fc.record({
      agoMs: fc.constantFrom(...moments),
      firmwareVersion: version,
      reading,
      counter: fc.nat(3),
      clockOffsetMs: fc.constantFrom(undefined, 0, -60_000, 60_001, -7_200_000, -1_000_000_000_000),
    }),
  ),
  faults: fc.uniqueArray(
    fc.tuple(
      fc.constantFrom("left_out", "refused", "repeated"),
      fc.constantFrom("", "boot_id"),
      fc.constantFrom(...moments),
    ),
    { selector: ([kind, field]) => `${kind} ${field}` },
  ),
});

const test = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(
        "serial_number",
        "device_type",
        "product",
        "hardware_model",
        "display_name",
        "carrier",
        "metadata.site",
        'metadata."my key"',
      ),
      fc.constantFrom("=", "!=", ":"),
      text,
      fc.constantFrom("", "start", "end", "both"),
    )
    .map(([field, comparator, value, wild]) => {
      const inner = quoted(value).slice(1, -1);
      const starred = `${wild === "start" || wild === "both" ? "*" : ""}${inner}${wild === "end" || wild === "both" ? "*" : ""}`;
      return `${field} ${comparator} "${comparator === ":" ? inner : starred}"`;
    }),
  fc
    .tuple(fc.constantFrom("groups", "tags"), fc.constantFrom(...names, "be*", "*a", "*"))
    .map(([field, name]) => `${field}:${name.includes("*") ? name : quoted(name)}`),
  fc
    .tuple(
      fc.constantFrom("battery_percent", "cpu_percent", "temperature_celsius"),
      comparison,
      fc.constantFrom(0, 0.1, 20, 55.5, -12.5, 1e39),
    )
    .map(([field, comparator, value]) => `${field} ${comparator} ${value}`),
  fc
    .tuple(
      fc.constantFrom("storage_free_bytes", "signal_dbm", "security_counter"),
      comparison,
      fc.constantFrom(0, 1, 1_000, -67, 2.5, 5_000_000_000),
    )
    .map(([field, comparator, value]) => `${field} ${comparator} ${value}`),
  fc
    .tuple(
      fc.constantFrom("firmware_version", "components.app"),
      comparison,
      fc.constantFrom(...versions.slice(0, -1), "1.2.0-rc.2", "v1.2.0"),
    )
    .map(([field, comparator, value]) => `${field} ${comparator} ${value}`),
  fc.constantFrom("firmware_version = 1.2.*", "firmware_version != 1.*", 'components.app = "*rc*"'),
  fc
    .tuple(
      comparison,
      fc.constantFrom("ago(240s)", "ago(1h)", '"2026-01-01T00:00:00Z"', '"2025-12-31T23:58:30.001Z"'),
    )
    .map(([comparator, value]) => `last_seen_time ${comparator} ${value}`),
  fc
    .tuple(
      fc.constantFrom(
        "clone_suspected_time",
        "reading_left_out_time",
        "heartbeat_refused_time",
        "heartbeat_repeated_time",
      ),
      comparison,
      fc.constantFrom("ago(240s)", "ago(1h)", '"2026-01-01T00:00:00Z"'),
    )
    .map(([field, comparator, value]) => `${field} ${comparator} ${value}`),
  fc
    .tuple(fc.constantFrom("=", "!="), fc.constantFrom("RIGHT", "CLOCK_VERDICT_OFF", "UNSET"))
    .map(([comparator, value]) => `clock_verdict ${comparator} ${value}`),
  fc
    .tuple(
      comparison,
      fc.constantFrom("ago(1s)", '"2026-01-01T00:00:00.123Z"', '"2000-01-01T00:00:00+02:00"'),
    )
    .map(([comparator, value]) => `create_time ${comparator} ${value}`),
  fc
    .tuple(fc.constantFrom("=", "!="), fc.constantFrom("UNKNOWN", "ONLINE", "PRESENCE_LATE", "OFFLINE"))
    .map(([comparator, value]) => `presence ${comparator} ${value}`),
  fc
    .tuple(fc.constantFrom("=", "!="), fc.constantFrom("UNSPECIFIED", "CANARY", "UPDATE_PIN_EXCLUDED"))
    .map(([comparator, value]) => `update_pin ${comparator} ${value}`),
  fc
    .tuple(fc.constantFrom("=", "!="), fc.constantFrom("ADMITTED", "QUARANTINED", "STANDING_BLOCKED"))
    .map(([comparator, value]) => `standing ${comparator} ${value}`),
  fc
    .tuple(fc.constantFrom("=", "!="), fc.constantFrom("ETHERNET", "NETWORK_TYPE_WIFI", "SATELLITE"))
    .map(([comparator, value]) => `network_type ${comparator} ${value}`),
  fc
    .tuple(fc.constantFrom("=", "!="), fc.boolean())
    .map(([comparator, value]) => `charging ${comparator} ${value}`),
  fc
    .constantFrom(
      "groups",
      "tags",
      "metadata",
      "components",
      "metadata.site",
      "components.app",
      "update_pin",
      "standing",
      "presence",
      "charging",
      "battery_percent",
      "network_type",
      "carrier",
      "product",
      "display_name",
      "firmware_version",
      "last_seen_time",
      "create_time",
      "clock_verdict",
      "clone_suspected_time",
      "reading_left_out_time",
      "heartbeat_refused_time",
      "heartbeat_repeated_time",
    )
    .map((field) => `${field}:*`),
  fc.constantFrom("metadata:site", "components:app", "sn-1", "STRAssE", '"ße"', "a"),
);

const filter: fc.Arbitrary<string> = fc.letrec<{ filter: string }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    test,
    fc
      .tuple(tie("filter"), fc.constantFrom(" AND ", " OR ", " "), tie("filter"))
      .map(([a, by, b]) => `(${a})${by}(${b})`),
    tie("filter").map((inner) => `NOT (${inner})`),
    tie("filter").map((inner) => `-(${inner})`),
  ),
})).filter;

type Written = ReturnType<typeof device.generate>["value"];

async function store(devices: DeviceReplica, written: readonly Written[]): Promise<FilterableDevice[]> {
  const key = await enrolmentKey(devices);
  const pool = devices.access.database.adminPool;
  const snapshots: FilterableDevice[] = [];
  const nowMs = Date.parse("2026-01-01T00:00:00Z");
  for (const [index, each] of written.entries()) {
    const { deviceId } = await devices.enrolment.enrol(
      enrolmentOf(key, `enrolled-${index}`, { deviceType: each.deviceType }),
    );
    await pool.query(
      `UPDATE devices SET serial_number = $2, display_name = $3, groups = $4, tags = $5, metadata = $6, update_pin = $7,
              reported = $8, created_at = $9, product = $10, hardware_model = $11, expected_interval_ms = $12,
              quarantined_at = $13, blocked_at = $14, clone_suspected_at = $15
        WHERE id = $1`,
      [
        deviceId,
        `${each.serialNumber}${"\u0001".repeat(index)}`,
        each.displayName,
        each.groups,
        each.tags,
        JSON.stringify(each.metadata),
        each.updatePin,
        JSON.stringify({ firmwareVersion: each.enrolledVersion }),
        "2026-01-01 00:00:00.123456Z",
        each.product,
        each.hardwareModel,
        each.expectedIntervalMs,
        each.quarantined ? new Date(0) : null,
        each.blocked ? new Date(0) : null,
        each.cloneSuspectedAgoMs === null ? null : new Date(nowMs + each.cloneSuspectedAgoMs),
      ],
    );
    for (const [kind, field, agoMs] of each.faults)
      await pool.query(
        "INSERT INTO heartbeat_faults (device_id, kind, field, noticed_at) VALUES ($1, $2, $3, $4)",
        [deviceId, kind, field, new Date(nowMs + agoMs)],
      );
    devices.directory.reload(deviceId);
    if (each.heard !== null) {
      const { agoMs, firmwareVersion, reading: values, counter, clockOffsetMs } = each.heard;
      devices.directory.observe([
        heartbeatOf(deviceId, 1, {
          receivedAt: new Date(nowMs + agoMs),
          firmwareVersion,
          securityCounter: counter,
          clockOffsetMs,
          ...values,
        }),
      ]);
    }
    snapshots.push(await devices.directory.get(deviceId));
  }
  await devices.states.flush();
  return snapshots;
}

describe("filters over devices", () => {
  it("find the same devices in the database as in memory", async () => {
    await using devices = await startDevices();
    const sample = fc.sample(device, { numRuns: 150, seed: 42 });
    const snapshots = await store(devices, sample);
    const nowMs = Date.parse("2026-01-01T00:00:00Z");
    const { pool, adminPool } = devices.access.database;
    await adminPool.query(
      `INSERT INTO model_aliases (alias, hardware_model, creator) VALUES ('tx-200', 'a', ''), ('B', 'a', ''), ('ab', 'x*y', '')`,
    );
    const models = await readModelNames(pool);
    let hits = 0;
    await fc.assert(
      fc.asyncProperty(filter, async (written) => {
        const parsed: DeviceFilter = parseDeviceFilter(written);
        const parameters = new Parameters();
        const condition = compileFilterSql(parsed, parameters, { nowMs, heartbeatIntervalMs });
        const rows = await pool.query<{ id: string }>(
          sql`SELECT d.id FROM devices d LEFT JOIN device_state s ON s.device_id = d.id WHERE ${condition} ORDER BY d.id`,
          parameters.values,
        );
        const matches = compileFilterPredicate(parsed, { heartbeatIntervalMs, models });
        const inMemory = snapshots.filter((each) => matches(each, nowMs)).map(({ id }) => id);
        hits += rows.length;
        expect(rows.map(({ id }) => id)).toEqual(inMemory.toSorted());
      }),
      { numRuns: 600 },
    );
    expect(hits).toBeGreaterThan(1_000);
  });

  it("sort versions in the database and in memory as semver does", async () => {
    await using devices = await startDevices();
    const number = fc.oneof(fc.nat(12), fc.constantFrom(100, 9_007_199_254_740_991)).map(String);
    const identifier = fc.oneof(
      fc.nat(120).map(String),
      fc.constantFrom("a", "rc", "RC", "a-b", "-", "0a", "beta", "x9"),
    );
    const generated = fc
      .tuple(number, number, number, fc.array(identifier, { maxLength: 3 }), fc.constantFrom("", "+b.1"))
      .map(([a, b, c, pre, build]) => `${a}.${b}.${c}${pre.length === 0 ? "" : `-${pre.join(".")}`}${build}`);
    const sample = fc.sample(generated, 300);
    for (const a of sample) {
      for (const b of sample.slice(0, 40)) {
        const [x = "", y = ""] = [versionKey(a), versionKey(b)];
        expect(Math.sign(semver.compare(a, b)), `${a} ${b}`).toBe(x < y ? -1 : x > y ? 1 : 0);
      }
    }
    const odd = [
      "",
      "1",
      "1.2",
      "01.2.3",
      "1.2.3-",
      "1.2.3-01",
      "1.2.3-a..b",
      "v1.2.3",
      "V1.2.3-rc.1+b",
      "1.2.3.4",
      " 1.2.3",
      "1.2.3+",
    ];
    const all = [...sample, ...odd];
    const { rows } = await devices.access.database.adminPool.query<{ key: string | null }>(
      "SELECT semver_key(v) AS key FROM unnest($1::text[]) WITH ORDINALITY AS t (v, n) ORDER BY n",
      [all],
    );
    expect(rows.map(({ key }) => key ?? undefined)).toEqual(all.map(versionKey));
  });
});
